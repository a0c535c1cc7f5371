"""Memory budgets that the file doesn't say, and sleepers that no memory could hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.config import Config
from orchestrator.errors import ConfigError
from orchestrator.fleet.configfile import load_config
from orchestrator.fleet.memory import asleep_budget_bytes

TOTAL = psutil.virtual_memory().total


def served(backend: str = "vllm", **residency: Any) -> dict[str, Any]:
    model = {"model": "m"} if backend == "vllm" else {"command": "serve {port}"}
    return {"name": backend, "backend": backend, **model, "residency": residency}


def budget(*experts: dict[str, Any], **memory: float) -> int:
    return asleep_budget_bytes(Config.model_validate({"version": 1, "experts": experts, "memory": memory}))


@pytest.mark.parametrize(("asleep_gb", "expected"), [(0, 0), (3, 3e9)])
def test_memory_for_sleepers_is_as_declared(asleep_gb: float, expected: float) -> None:
    assert budget(served(memory_gb=4, sleep=1), asleep_gb=asleep_gb) == expected


def test_memory_for_sleepers_is_half_of_the_hosts_however_much_a_device_has() -> None:
    assert budget(served(memory_gb=400, sleep=1), budget_gb=640) == TOTAL // 2


def test_experts_in_the_hosts_memory_leave_less_for_sleepers() -> None:
    both = (served(memory_gb=4, sleep=1), served("command", memory_gb=1))
    assert budget(*both) == (TOTAL - 10**9) // 2
    assert budget(*both, budget_gb=4.5) == (TOTAL - 10**9) // 2
    assert budget(both[0], served("command", memory_gb=1, device=True)) == TOTAL // 2


def load(folder: Path, *experts: dict[str, Any], **memory: float) -> Config:
    path = folder / "experts.yaml"
    path.write_text(json.dumps({"version": 1, "experts": experts, "memory": memory}))
    return load_config(path)


@pytest.mark.parametrize(
    ("residency", "memory", "problem"),
    [
        ({"memory_gb": 4}, {"asleep_gb": 3}, "it keeps up to 4 GB (`asleep_gb`), and memory.asleep_gb has 3"),
        ({"memory_gb": 1, "asleep_gb": 4}, {"asleep_gb": 3}, "it keeps up to 4 GB (`asleep_gb`), and"),
        ({"memory_gb": 1e5}, {}, f"and memory.asleep_gb has {TOTAL / 2e9:.3g} by default"),
    ],
)
def test_a_sleeper_that_no_memory_could_hold_is_refused(
    tmp_path: Path, residency: dict[str, float], memory: dict[str, float], problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, served(sleep=1, **residency), **memory)
    assert "experts[0].residency.sleep: it keeps up to" in caught.value.message
    assert problem in caught.value.message


@pytest.mark.parametrize("memory", [{"asleep_gb": 0}, {"asleep_gb": 4}])
def test_sleepers_that_fit_and_sleep_that_is_switched_off_are_fine(tmp_path: Path, memory: dict[str, float]) -> None:
    assert load(tmp_path, served(memory_gb=4, sleep=1), **memory).memory.asleep_gb == memory["asleep_gb"]
