import pickle
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config import ServedBase
from orchestrator.errors import ConfigError
from orchestrator.experts.base import Resources
from orchestrator.fleet.launching import Launch
from tests.support.experts import spec_of


def launch_of(folder: Path, not_inherited: frozenset[str] = frozenset(), **keys: Any) -> Launch:
    spec = spec_of(**{"name": "expert", "backend": "vllm", "model": {"path": "w"}, **keys})
    assert isinstance(spec, ServedBase)
    return Launch(spec, folder, not_inherited)


def test_a_command_is_made_where_the_weights_lie(tmp_path: Path) -> None:
    launch = pickle.loads(pickle.dumps(launch_of(tmp_path, frozenset({"PROVIDER_KEY"}))))
    with pytest.raises(ConfigError, match=r"w is not there yet"):
        launch()
    (tmp_path / "w").mkdir()
    command = launch()
    assert command.argv[:3] == ("vllm", "serve", str(tmp_path / "w"))
    assert (command.files, command.cwd, command.not_inherited) == ((tmp_path / "w",), tmp_path, {"PROVIDER_KEY"})


@pytest.mark.parametrize(
    "keys",
    [
        {"description": "other words"},
        {"price": {"input": 1.0}},
        {"limits": {"rpm": 5}},
        {"residency": {"memory_gb": 3, "keep_alive_s": 1}},
        {"not_inherited": frozenset({"PROVIDER_KEY"})},
    ],
)
def test_what_a_server_is_not_told_is_no_reason_for_another(tmp_path: Path, keys: dict[str, Any]) -> None:
    assert launch_of(tmp_path, **keys) == launch_of(tmp_path)


@pytest.mark.parametrize(
    "keys",
    [
        {"model": {"path": "v"}},
        {"args": ["--enforce-eager"]},
        {"env": {"A": "1"}},
        {"context": 4096},
        {"name": "renamed"},
        {"residency": {"memory_gb": 3, "sleep": 1}},
        {"resources": {"gpus": 0.5}},
    ],
)
def test_what_a_server_is_told_or_given_is_one(tmp_path: Path, keys: dict[str, Any]) -> None:
    assert launch_of(tmp_path, **keys) != launch_of(tmp_path)


def test_another_folder_is_one_too(tmp_path: Path) -> None:
    assert launch_of(tmp_path) != launch_of(tmp_path / "other")


@pytest.mark.parametrize(
    ("keys", "resources"),
    [
        ({}, Resources(gpus=1)),
        ({"args": ["-tp", "2", "--pipeline-parallel-size=2"]}, Resources(gpus=4)),
        ({"args": ["--tensor_parallel_size", "2", "--served-model-name=a_b"]}, Resources(gpus=2)),
        ({"args": ["-tp", "2", "-dp", "2"]}, Resources(gpus=4)),
        ({"args": ["-dp", "4", "--data-parallel-size-local", "2"]}, Resources(gpus=2)),
        ({"args": ["-tp", "2"], "resources": {"cpus": 3, "gpus": 0}}, Resources(cpus=3)),
        ({"residency": {"memory_gb": 9}}, Resources(gpus=1)),
        ({"residency": {"memory_gb": 9, "device": False}}, Resources(memory_bytes=9_000_000_000)),
        (
            {"backend": "command", "model": None, "command": "serve {port}", "residency": {"memory_gb": 0.5}},
            Resources(memory_bytes=500_000_000),
        ),
    ],
)
def test_resources_follow_from_the_entry(tmp_path: Path, keys: dict[str, Any], resources: Resources) -> None:
    assert launch_of(tmp_path, **keys).resources == resources


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"resources": {"gpus": 1.5}}, "expected a share of one GPU, or a whole number of them"),
        ({"args": ["-tp", "two"]}, "in `args`: argument --tensor-parallel-size/-tp: invalid int value: 'two'"),
    ],
)
def test_resources_that_can_not_be_given_are_refused(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        launch_of(tmp_path, **keys)
