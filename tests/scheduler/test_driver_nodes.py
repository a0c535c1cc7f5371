"""The driver over an engine for each of several nodes: who launches, what a lost node takes along, what is taken over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from msgspec import structs

from orchestrator.errors import ExpertError, NoCapacity
from orchestrator.experts.base import ServerCommand
from orchestrator.scheduler.base import Lease, LeaseRequest, NodeMemory, Place
from orchestrator.scheduler.driver import LocalScheduler
from tests.support.engine import FakeEngine, FakeServer
from tests.support.launching import Fixed
from tests.support.places import FAILED, OK, ask, local
from tests.support.schedulers import status, until

NODES = ("n1", "n2")
HOLD_S = 0.05


def everywhere(*places: Place) -> list[Place]:
    return [replace(place, node=node) for place in places for node in NODES]


@asynccontextmanager
async def cluster(*places: Place) -> AsyncIterator[tuple[LocalScheduler, FakeEngine, FakeEngine]]:
    """Two nodes, and whose servers end at once when they are told to."""
    engines = {node: FakeEngine() for node in NODES}
    scheduler = LocalScheduler(places, engines, budget_bytes=0, nodes=dict.fromkeys(NODES, NodeMemory(100, 40)))
    try:
        yield scheduler, engines["n1"], engines["n2"]
    finally:
        for engine in engines.values():
            for launch in engine.launches:
                if launch.result.done() and not launch.result.cancelled() and launch.result.exception() is None:
                    launch.result.result().finish()
        await scheduler.close()


def found(name: str = "a") -> FakeServer:
    return FakeServer(name, 60, hold=False)


def launch_of(name: str) -> Fixed:
    return Fixed(ServerCommand(argv=("serve", name)))


def states(scheduler: LocalScheduler, name: str) -> list[str]:
    return [each.state for each in scheduler.status() if each.expert == name]


def acquiring(scheduler: LocalScheduler, request: LeaseRequest) -> asyncio.Task[Lease]:
    return asyncio.create_task(scheduler.acquire(request))


async def test_who_waits_for_a_load_on_a_lost_node_is_served_by_another():
    async with cluster(*everywhere(local("a", 60))) as (scheduler, one, other):
        waiting = acquiring(scheduler, ask("a"))
        launch = await one.launched("a")
        scheduler.lost("n1", "it does not answer")
        (await other.launched("a")).succeed()
        assert (await waiting).node == "n2"
        assert launch.result.cancelled()
        assert status(scheduler, "a").last_error == "it does not answer"


async def test_a_server_on_a_lost_node_is_stopped_and_its_end_is_no_news():
    async with cluster(*everywhere(local("a", 60))) as (scheduler, one, other):
        waiting = acquiring(scheduler, ask("a"))
        server = (await one.launched("a")).succeed()
        lease = await waiting
        scheduler.lost("n1", "it does not answer")
        await asyncio.wait_for(server.stopping.wait(), 5)
        again = acquiring(scheduler, ask("a", request_id="again"))
        (await other.launched("a")).succeed()
        server.finish()
        assert (await again).node == "n2"
        scheduler.release(lease, FAILED)
        assert states(scheduler, "a") == ["cold", "ready"]


async def test_without_another_node_who_waits_is_refused_until_it_is_found():
    async with cluster(replace(local("a", 60), node="n1")) as (scheduler, one, _):
        waiting = acquiring(scheduler, ask("a"))
        await one.launched("a")
        scheduler.lost("n1", "it does not answer")
        with pytest.raises(NoCapacity, match="lost"):
            await waiting
        scheduler.found("n1")
        again = acquiring(scheduler, ask("a"))
        (await one.launched("a", times=2)).succeed()
        assert (await again).node == "n1"


async def test_an_unload_ends_with_the_node():
    async with cluster(replace(local("a", 60), node="n1")) as (scheduler, one, _):
        waiting = acquiring(scheduler, ask("a"))
        (await one.launched("a")).succeed()
        await waiting
        unloading = asyncio.create_task(scheduler.unload("a"))
        await until(lambda: states(scheduler, "a") == ["draining"])
        scheduler.lost("n1", "it does not answer")
        await asyncio.wait_for(unloading, 5)


async def test_a_launch_that_fails_on_one_node_is_tried_on_another():
    async with cluster(*everywhere(local("a", 60))) as (scheduler, one, other):
        waiting = acquiring(scheduler, ask("a"))
        (await one.launched("a")).fail(ExpertError("a", "not_loaded", "no weights here"))
        (await other.launched("a")).succeed()
        assert (await waiting).node == "n2"


async def test_a_server_that_is_adopted_serves_without_a_launch():
    async with cluster(*everywhere(local("a", 60))) as (scheduler, one, other):
        server = found()
        assert scheduler.adopt("a", "n2", server, launch_of("a"), hold_s=HOLD_S)
        lease = await scheduler.acquire(ask("a"))  # though it is held for others
        assert (lease.node, lease.endpoint) == ("n2", server.endpoint)
        assert scheduler.memory().nodes["n2"].used_bytes == 60
        server.crash()
        again = acquiring(scheduler, ask("a", request_id="again"))
        (await one.launched("a")).succeed()
        assert (await again).node == "n1"
        assert not other.launches


@pytest.mark.parametrize(
    ("expert", "node", "argv"), [("a", "n1", "b"), ("stranger", "n1", "a"), ("a", "n9", "a")], ids=str
)
async def test_a_server_that_the_file_does_not_want_is_not_adopted(expert: str, node: str, argv: str):
    async with cluster(*everywhere(local("a", 60))) as (scheduler, _, _):
        assert not scheduler.adopt(expert, node, found(), launch_of(argv), hold_s=HOLD_S)
        ended = found()
        ended.crash()
        assert not scheduler.adopt("a", "n1", ended, launch_of("a"), hold_s=HOLD_S)
        assert states(scheduler, "a") == ["cold", "cold"]


async def test_an_adopted_server_is_kept_until_leases_of_it_can_be_restored():
    only = [replace(place, node="n1") for place in (local("a", 60, keep_alive_s=0.0), local("b", 60))]
    async with cluster(*only) as (scheduler, one, _):
        server = found()
        scheduler.adopt("a", "n1", server, launch_of("a"), hold_s=HOLD_S)
        waiting = acquiring(scheduler, ask("b"))
        held = Lease("gone/1", "a", server.endpoint, 0.0, node="n1")
        scheduler.restore([held, structs.replace(held, id="gone/2", node="n2")])
        await asyncio.sleep(3 * HOLD_S)
        assert not server.stopping.is_set()
        scheduler.release(held, OK)
        (await one.launched("b")).succeed()
        assert (await waiting).expert == "b"
        assert server.stopping.is_set()


async def test_an_adopted_server_that_nobody_has_leases_of_goes_after_that():
    only = [replace(place, node="n1") for place in (local("a", 60, keep_alive_s=0.0), local("b", 60))]
    async with cluster(*only) as (scheduler, one, _):
        server = found()
        scheduler.adopt("a", "n1", server, launch_of("a"), hold_s=HOLD_S)
        waiting = acquiring(scheduler, ask("b"))
        await asyncio.sleep(0)
        assert not server.stopping.is_set()
        (await one.launched("b")).succeed()
        assert (await waiting).expert == "b"


async def test_the_hold_of_a_server_that_died_is_no_other_ones():
    async with cluster(*everywhere(local("a", 60))) as (scheduler, one, other):
        first, second = found(), found()
        scheduler.adopt("a", "n1", first, launch_of("a"), hold_s=HOLD_S)
        first.crash()
        await until(lambda: states(scheduler, "a") == ["cold", "cold"])
        assert scheduler.adopt("a", "n1", second, launch_of("a"), hold_s=600.0)
        await asyncio.sleep(3 * HOLD_S)
        lease = await asyncio.wait_for(scheduler.acquire(ask("a")), 5)  # its only place, which the hold does not take
        assert (lease.node, lease.endpoint) == ("n1", second.endpoint)
        assert not one.launches
        assert not other.launches


async def test_a_server_that_sleeps_is_adopted_asleep_and_woken_when_it_is_asked_for():
    places = [replace(place, node="n1") for place in (local("a", 60, asleep_bytes=20), local("b", 60))]
    async with cluster(*places) as (scheduler, one, _):
        server = FakeServer("a", 20, hold=False)
        assert scheduler.adopt("a", "n1", server, launch_of("a"), hold_s=HOLD_S, asleep=True)
        assert states(scheduler, "a") == ["asleep"]
        assert (scheduler.memory().used_bytes, scheduler.memory().asleep_used_bytes) == (0, 20)
        assert (await scheduler.acquire(ask("a"))).endpoint == server.endpoint
        assert server.calls == ["wake"]
        assert not one.launches
        assert not scheduler.adopt("b", "n1", found("b"), launch_of("b"), hold_s=HOLD_S, asleep=True)
