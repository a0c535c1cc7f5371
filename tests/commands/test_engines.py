"""Where a command's experts run."""

from pathlib import Path

import pytest

from orchestrator.commands.engines import chosen_engine
from orchestrator.errors import ConfigError
from tests.support.service import write_config

ECHO = {"name": "a", "backend": "echo"}


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def test_it_is_what_is_asked_for_then_a_cluster_that_is_named_then_what_the_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_config(tmp_path, ECHO)
    assert chosen_engine(None, path) == "local"
    assert chosen_engine(None, write_config(tmp_path, ECHO, engine="ray")) == "ray"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert chosen_engine(None, write_config(tmp_path, ECHO)) == "ray"
    assert chosen_engine("local", path) == "local"


def test_there_are_no_others(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'slurm' is no engine; expected local or ray"):
        chosen_engine("slurm", write_config(tmp_path, ECHO))
