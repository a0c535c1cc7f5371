import os
from itertools import count
from pathlib import Path

import pytest

from orchestrator.engines.filecache import ReadAhead, warm
from orchestrator.experts.base import ServerCommand
from tests.support.launching import Fixed
from tests.support.pagecache import cached_bytes, drop, until_cached

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


def reading(*files: Path) -> Fixed:
    return Fixed(ServerCommand(argv=tuple(map(str, files)), files=files))


def test_a_file_is_read_whole_ahead_of_its_load(weights: Path) -> None:
    file = weights / "config.json"
    warm([file])
    assert until_cached([file])


def test_a_folder_is_read_with_all_that_lies_below(weights: Path) -> None:
    warm([weights])
    assert until_cached([weights / "config.json", weights / "shards" / "1.safetensors"])


def test_nothing_more_is_read_once_it_is_told_to_stop(weights: Path) -> None:
    chunks = count()
    warm([weights / "config.json"], stopped=lambda: next(chunks) >= 3)
    assert next(chunks) == 4
    assert cached_bytes(weights / "config.json") < SIZE


def test_files_are_read_in_the_background(weights: Path) -> None:
    ahead = ReadAhead()
    ahead.read(reading(weights / "missing.gguf", weights / "config.json"))
    ahead.read(reading(weights / "shards"))
    assert until_cached([weights / "config.json", weights / "shards" / "1.safetensors"])
    ahead.close()
    ahead.read(reading(weights))


def test_weights_that_are_not_there_are_the_servers_to_complain_about(tmp_path: Path) -> None:
    warm([tmp_path / "missing.gguf"])
