"""Experts on the nodes of a real cluster: where they are loaded, and what happens when nodes go and come.

The scheduler runs in this process; `test_control.py` has it as the actor that it is in service.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace
from ray.cluster_utils import Cluster

from orchestrator.engines.ray.cluster import ClusterNode, living_nodes
from orchestrator.engines.ray.machines import Machines
from orchestrator.errors import NoCapacity
from orchestrator.fleet.configfile import read_config
from orchestrator.fleet.spreading import NOWHERE
from orchestrator.scheduler.base import Lease, LeaseRequest
from orchestrator.scheduler.driver import LocalScheduler
from orchestrator.types import Endpoint
from tests.support.faulty import Servers, expert
from tests.support.places import FAILED, OK, ask
from tests.support.rays import add_node, lose_node, nodes_apart, owner_of
from tests.support.service import write_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

ONE, OTHER = "127.0.0.2", "127.0.0.3"
SOON_S = 15.0
ALONE = {"memory": {"budget_gb": 0.1, "prefetch": False}}
"""Memory for one expert on each node."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with nodes_apart(1, num_gpus=1) as cluster:
        add_node(cluster, OTHER)
        yield cluster


@asynccontextmanager
async def scheduling(folder: Path, *experts: dict[str, Any], **sections: Any) -> AsyncIterator[LocalScheduler]:
    for each in experts:
        (folder / each["name"]).mkdir()
    config = read_config(write_config(folder, *experts, engine="ray", **(ALONE | sections)))
    machines = Machines(_listen_at, lambda _: None)
    scheduler = await machines.scheduler(config, folder)
    try:
        yield scheduler
    finally:
        await machines.unwatch()
        await scheduler.close()
        await machines.close()


def _listen_at(node: ClusterNode) -> str:
    return node.address if node.address in {ONE, OTHER} else "127.0.0.1"


def only_at(**experts: tuple[str, ...]) -> dict[str, Any]:
    return {"placement": {name: list(nodes) for name, nodes in experts.items()}}


def wanting(name: str, request_id: str, node: str = "") -> LeaseRequest:
    return replace(ask(name, request_id=request_id), node=node)


def states(scheduler: LocalScheduler, name: str) -> dict[str, str]:
    return {each.node: each.state for each in scheduler.status() if each.expert == name}


def in_memory(scheduler: LocalScheduler, name: str) -> set[str]:
    return {node for node, state in states(scheduler, name).items() if state == "ready"}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not condition():  # noqa: ASYNC110 - what happens on other nodes gives no event
            await asyncio.sleep(0.01)


async def asked(endpoint: Endpoint | None, text: str = "Hello") -> str:
    assert endpoint is not None
    body = {"messages": [{"role": "user", "content": text}]}
    async with aiohttp.ClientSession() as http, http.post(f"{endpoint.base_url}/chat/completions", json=body) as answer:
        said: str = (await answer.json())["choices"][0]["message"]["content"]
        return said


async def on_two_nodes(scheduler: LocalScheduler, name: str) -> tuple[Lease, Lease]:
    """Leases of two replicas, which the load has brought about."""
    first = await scheduler.acquire(wanting(name, "first"))
    waiting = [asyncio.create_task(scheduler.acquire(wanting(name, f"r{i}"))) for i in range(20)]
    done, rest = await asyncio.wait(waiting, timeout=SOON_S, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.wait(rest)
    (second,) = done
    return first, second.result()


async def test_a_node_that_gives_no_memory_has_no_experts(cluster: Cluster, tmp_path: Path) -> None:
    add_node(cluster, "127.0.0.5", memory=0)
    try:
        assert "127.0.0.5" in {node.address for node in living_nodes()}
        async with scheduling(tmp_path, expert("w")) as scheduler:
            assert {ONE, OTHER} < scheduler.memory().nodes.keys()
            assert "127.0.0.5" not in scheduler.memory().nodes
            assert "127.0.0.5" not in states(scheduler, "w")
    finally:
        lose_node(cluster, "127.0.0.5")


async def test_an_expert_that_no_node_has_room_for_is_refused_and_operators_are_told(
    cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with scheduling(tmp_path, expert("a", resources={"gpus": 2}), expert("b")) as scheduler:
        with pytest.raises(NoCapacity) as caught:
            await scheduler.acquire(ask("a"))
        assert (caught.value.status, caught.value.code) == (503, "no_capacity")
        assert caught.value.message == "the nodes of the experts that could answer are lost"
        (only,) = (each for each in scheduler.status() if each.expert == "a")
        assert (only.node, only.state, only.last_error) == (NOWHERE, "cold", "no node has room for it")
    asked = "which asks for 0 CPUs, 2 GPUs and 0.1 GB of memory"
    assert f"no node has room for a, {asked}: requests for it are refused until one comes" in caplog.messages
    assert "no node has room for b" not in caplog.text


async def test_an_expert_is_loaded_on_more_nodes_when_its_queue_is_long_and_leaves_when_idle(
    cluster: Cluster, tmp_path: Path
) -> None:
    residency = {"memory_gb": 0.06, "keep_alive_s": 2.0}
    async with scheduling(tmp_path, expert("a", residency=residency)) as scheduler:
        first, second = await on_two_nodes(scheduler, "a")
        assert first.node != second.node
        assert await asked(first.endpoint) == await asked(second.endpoint) == "Hello"
        for lease in (first, second):
            scheduler.release(lease, OK)
        for node in (first.node, second.node):  # where who asks is
            lease = await scheduler.acquire(wanting("a", "near", node))
            assert lease.node == node
            scheduler.release(lease, OK)
        await until(lambda: set(states(scheduler, "a").values()) == {"cold"})
        assert scheduler.memory().used_bytes == 0


@pytest.mark.slow
async def test_experts_that_one_node_can_not_hold_live_side_by_side(cluster: Cluster, tmp_path: Path) -> None:
    names = ("a", "b", "c")
    async with scheduling(tmp_path, *map(expert, names)) as scheduler:
        leases = await asyncio.gather(*(scheduler.acquire(ask(name, request_id=name)) for name in names))
        assert len({lease.node for lease in leases}) == 3
        assert {node.used_bytes for node in scheduler.memory().nodes.values()} == {60_000_000}


@pytest.mark.slow
async def test_an_expert_that_fits_on_one_node_is_loaded_there(cluster: Cluster, tmp_path: Path) -> None:
    with_device = expert("a", resources={"gpus": 1})
    async with scheduling(tmp_path, with_device) as scheduler:
        assert (await scheduler.acquire(wanting("a", "r", OTHER))).node == ONE


async def test_who_waits_for_a_node_that_is_lost_is_answered_by_another_within_seconds(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with scheduling(tmp_path, expert("a"), **only_at(a=(ONE, OTHER))) as scheduler:
        held = await scheduler.acquire(wanting("a", "held", OTHER))
        assert held.node == OTHER
        waits = asyncio.create_task(scheduler.acquire(wanting("a", "waits", OTHER)))
        servers = Servers(tmp_path)
        servers.tell("a", "hangs For ever")
        under_way = asyncio.create_task(asked(held.endpoint, "For ever"))
        await until(lambda: servers.asked("a") == ["For ever"])
        lose_node(cluster, OTHER)
        lost_at = time.monotonic()
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(under_way, SOON_S)
        lease = await asyncio.wait_for(waits, SOON_S)
        assert (lease.node, await asked(lease.endpoint)) == (ONE, "Hello")
        assert time.monotonic() - lost_at < SOON_S
        scheduler.release(held, FAILED)
        await until(lambda: OTHER not in {each.node for each in scheduler.status()})
        assert set(scheduler.memory().nodes) == {node.address for node in living_nodes()}

        scheduler.release(lease, OK)
        add_node(cluster, OTHER)
        await until(lambda: OTHER in states(scheduler, "a"))
        assert {lease.node for lease in await on_two_nodes(scheduler, "a")} == {ONE, OTHER}


@pytest.mark.slow
async def test_an_expert_whose_only_node_is_lost_is_refused_until_there_is_one_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    with_devices = expert("a", resources={"gpus": 2})
    async with scheduling(tmp_path, with_devices, expert("b")) as scheduler:
        assert states(scheduler, "a") == {NOWHERE: "cold"}
        with pytest.raises(NoCapacity):
            await scheduler.acquire(ask("a"))
        assert NOWHERE not in scheduler.memory().nodes
        add_node(cluster, "127.0.0.4", num_gpus=2)
        await until(lambda: states(scheduler, "a") == {"127.0.0.4": "cold"})
        held = await scheduler.acquire(ask("a", request_id="held"))
        waits = asyncio.create_task(scheduler.acquire(ask("a", request_id="waits")))
        lose_node(cluster, "127.0.0.4")
        with pytest.raises(NoCapacity, match="lost"):
            await asyncio.wait_for(waits, SOON_S)
        scheduler.release(held, FAILED)
        await until(lambda: states(scheduler, "a") == {NOWHERE: "cold"})
        assert (await scheduler.acquire(ask("b"))).node


@pytest.mark.slow
async def test_a_server_whose_actor_is_killed_is_launched_again(cluster: Cluster, tmp_path: Path) -> None:
    async with scheduling(tmp_path, expert("a"), **only_at(a=(ONE,))) as scheduler:
        lease = await scheduler.acquire(ask("a"))
        assert lease.endpoint is not None
        owner_of(lease.endpoint).kill()
        await until(lambda: states(scheduler, "a") == {ONE: "cold"})
        scheduler.release(lease, FAILED)
        again = await scheduler.acquire(ask("a"))
        assert await asked(again.endpoint) == "Hello"
        assert Servers(tmp_path).launches("a") == 2
