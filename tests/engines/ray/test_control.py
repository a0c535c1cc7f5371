"""The scheduler as an actor of a cluster: it dies, nodes die, and what its gateways hold goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from orchestrator.engines.ray.attached import Attachment
from orchestrator.engines.ray.cluster import own_node
from orchestrator.engines.ray.control import Settings, running_control_actor
from orchestrator.fleet.configfile import read_config
from orchestrator.scheduler.base import Lease, Scheduler
from tests.support.faulty import Servers, expert
from tests.support.places import OK, ask
from tests.support.rays import add_node, lose_node, nodes_apart
from tests.support.service import write_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

ONE, OTHER = "127.0.0.2", "127.0.0.3"
SOON_S = 20.0
ALONE = {"memory": {"budget_gb": 0.1, "prefetch": False}}
"""Memory for one expert on each node."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with nodes_apart(2, memory=4_000_000_000) as cluster:  # less than the head has, where the scheduler goes
        yield cluster


@asynccontextmanager
async def attached(folder: Path, *experts: dict[str, Any], **sections: Any) -> AsyncIterator[Attachment]:
    """As a gateway on the head is."""
    for each in experts:
        (folder / each["name"]).mkdir()
    path = write_config(folder, *experts, engine="ray", **(ALONE | sections))
    attachment = await Attachment.of(Settings(path, "127.0.0.1", lasting=False), "test")
    try:
        async with attachment.scheduling(read_config(path)):
            yield attachment
    finally:
        await attachment.leave()
        assert running_control_actor() is None


def in_memory(scheduler: Scheduler, name: str) -> set[str]:
    return {each.node for each in scheduler.status() if each.expert == name and each.state == "ready"}


def leased(scheduler: Scheduler) -> dict[str, int]:
    return {each.expert: each.leases for each in scheduler.status() if each.leases}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not condition():  # noqa: ASYNC110 - what happens in other processes gives no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def streaming(lease: Lease, text: str) -> AsyncIterator[Callable[[], Any]]:
    """An answer of which the first piece has come; what is yielded awaits the rest."""
    assert lease.endpoint is not None
    body = {"messages": [{"role": "user", "content": text}], "stream": True}
    url = f"{lease.endpoint.base_url}/chat/completions"
    async with aiohttp.ClientSession() as http, http.post(url, json=body) as answer:
        first = json.loads((await answer.content.readline()).removeprefix(b"data: "))
        assert first["choices"][0]["delta"]["content"] == text[:1]
        yield answer.content.read


def killed_by_ray() -> None:
    ray.kill(running_control_actor(), no_restart=False)


def killed() -> None:
    mine = (
        each for each in psutil.process_iter(["cmdline"]) if "ray::ControlActor" in (each.info["cmdline"] or [""])[0]
    )
    ours = {each.pid for each in psutil.Process().children(recursive=True)}
    (process,) = (each for each in mine if each.pid in ours)
    process.kill()


@pytest.mark.parametrize("end", [killed, pytest.param(killed_by_ray, marks=pytest.mark.slow)])
async def test_servers_outlive_the_scheduler_and_whoever_holds_them_keeps_them(
    cluster: Cluster, tmp_path: Path, end: Callable[[], None]
) -> None:
    names = ("a", "b", "c")
    servers = Servers(tmp_path)
    async with attached(tmp_path, *map(expert, names)) as attachment:
        scheduler = attachment.scheduler
        leases = {name: await scheduler.acquire(ask(name, request_id=name)) for name in names}
        assert len({lease.node for lease in leases.values()}) == 3
        assert leases["a"].node == own_node().address  # where who asked first is
        pids = {name: [process.pid for process in servers.alive(name)] for name in names}
        servers.tell("a", "hangs Slowly")
        async with streaming(leases["a"], "Slowly") as rest:
            end()
            await until(lambda: not scheduler.is_connected)
            waits = asyncio.create_task(scheduler.acquire(ask("c", request_id="waits")))
            await until(lambda: scheduler.is_connected and all(in_memory(scheduler, name) for name in names))
            await until(lambda: leased(scheduler) == dict.fromkeys(names, 1))
            assert {name: [process.pid for process in servers.alive(name)] for name in names} == pids
            servers.go("a")
            assert b"[DONE]" in await rest()
        assert not waits.done()  # the one place of `c` is taken
        scheduler.release(leases["c"], OK)
        assert (await asyncio.wait_for(waits, SOON_S)).endpoint == leases["c"].endpoint
        scheduler.release(leases["a"], OK)
        scheduler.release(await scheduler.acquire(ask("a", request_id="again")), OK)
        assert [servers.launches(name) for name in names] == [1, 1, 1]


@pytest.mark.slow
async def test_what_is_held_is_not_evicted_by_the_next_scheduler(cluster: Cluster, tmp_path: Path) -> None:
    placement = {"placement": {"a": [ONE], "b": [ONE]}}
    async with attached(tmp_path, expert("a"), expert("b"), **placement) as attachment:
        scheduler = attachment.scheduler
        held = await scheduler.acquire(ask("a", request_id="held"))
        waits = asyncio.create_task(scheduler.acquire(ask("b", request_id="waits")))
        killed()
        await until(lambda: not scheduler.is_connected)
        await until(lambda: scheduler.is_connected and in_memory(scheduler, "a") == {ONE})
        await asyncio.sleep(0.5)  # in which it would have gone
        assert not waits.done()
        assert in_memory(scheduler, "a") == {ONE}
        scheduler.release(held, OK)
        assert (await asyncio.wait_for(waits, SOON_S)).node == ONE
        await until(lambda: not in_memory(scheduler, "a"))


@pytest.mark.slow
async def test_a_pinned_expert_is_kept_in_memory_on_one_node_whichever_is_lost(
    cluster: Cluster, tmp_path: Path
) -> None:
    pinned = expert("a", residency={"memory_gb": 0.06, "pin": True, "keep_alive_s": 0})
    away = {"placement": {"a": [ONE, OTHER]}}
    async with attached(tmp_path, pinned, expert("b"), **away) as attachment:
        scheduler = attachment.scheduler
        await until(lambda: len(in_memory(scheduler, "a")) == 1)
        (home,) = in_memory(scheduler, "a")
        lose_node(cluster, home)
        (left,) = {ONE, OTHER} - {home}
        await until(lambda: in_memory(scheduler, "a") == {left})
        assert (await scheduler.acquire(ask("a"))).node == left
        add_node(cluster, home, memory=4_000_000_000)
        await until(lambda: home in scheduler.memory().nodes)
        assert in_memory(scheduler, "a") == {left}
        assert Servers(tmp_path).launches("a") == 2
