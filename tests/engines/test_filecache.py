import os
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from orchestrator.engines.filecache import cached_bytes, warm

SIZE = 24 << 20
"""More than Linux reads for one request to."""


def drop(files: Iterable[Path]) -> None:
    """Out of the cache, as after a reboot."""
    for file in files:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def until_cached(files: Iterable[Path], size: int) -> bool:
    """Whether nearly all of `size` is in the cache, soon; the system tells nobody, and may leave some out."""
    give_up_at = time.monotonic() + 20
    while cached_bytes(files) < 0.8 * size:
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder of two files that nobody has read since they were written."""
    (tmp_path / "shards").mkdir()
    for name in ("config.json", "shards/1.safetensors"):
        (tmp_path / name).write_bytes(os.urandom(SIZE))
    drop([tmp_path / "config.json", tmp_path / "shards" / "1.safetensors"])
    if cached_bytes([tmp_path]) > SIZE:
        pytest.skip("this file system keeps what it is told to forget")
    return tmp_path


def test_a_file_is_read_whole_ahead_of_its_load(weights: Path) -> None:
    file = weights / "config.json"
    warm([file])
    assert until_cached([file], SIZE)


def test_a_folder_is_read_with_all_that_lies_below(weights: Path) -> None:
    warm([weights])
    assert until_cached([weights], 2 * SIZE)


def test_what_was_read_is_counted_by_pages(weights: Path) -> None:
    file = weights / "config.json"
    with file.open("rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # no read-ahead
        os.pread(opened.fileno(), 3 * 4096, 8192)
    assert cached_bytes([file]) == 3 * 4096


def test_an_empty_file_takes_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert cached_bytes([tmp_path]) == 0


def test_weights_that_are_not_there_are_the_servers_to_complain_about(tmp_path: Path) -> None:
    warm([tmp_path / "missing.gguf"])
