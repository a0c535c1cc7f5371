import os
from pathlib import Path

import pytest

from orchestrator.engines.filecache import cached_bytes, warm
from tests.support.pagecache import drop, until_cached

SIZE = 24 << 20
"""More than Linux reads for one request to."""


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder of two files that nobody has read since they were written."""
    (tmp_path / "shards").mkdir()
    for name in ("config.json", "shards/1.safetensors"):
        (tmp_path / name).write_bytes(os.urandom(SIZE))
    if not all([drop(tmp_path / "config.json"), drop(tmp_path / "shards" / "1.safetensors")]):
        pytest.skip("this file system keeps what it is told to forget")
    return tmp_path


def test_a_file_is_read_whole_ahead_of_its_load(weights: Path) -> None:
    file = weights / "config.json"
    warm([file])
    assert until_cached([file])


def test_a_folder_is_read_with_all_that_lies_below(weights: Path) -> None:
    warm([weights])
    assert until_cached([weights])


def test_what_was_read_is_counted_by_pages(weights: Path) -> None:
    file = weights / "config.json"
    with file.open("rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # no read-ahead
        os.pread(opened.fileno(), 3 * 4096, 8192)
    assert cached_bytes([file]) == (3 * 4096, SIZE)


def test_an_empty_file_takes_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert cached_bytes([tmp_path]) == (0, 0)


def test_weights_that_are_not_there_are_the_servers_to_complain_about(tmp_path: Path) -> None:
    warm([tmp_path / "missing.gguf"])
    assert cached_bytes([tmp_path / "missing.gguf"]) == (0, 0)
