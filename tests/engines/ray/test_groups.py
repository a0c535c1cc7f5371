"""Servers that take several GPUs: all of them at once, on their node, and given back however the server ends."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import ray
from ray.cluster_utils import Cluster
from ray.util import placement_group_table

from orchestrator.engines.ray.attached import Attachment
from orchestrator.engines.ray.cluster import ClusterNode, living_nodes
from orchestrator.engines.ray.control import Settings, running_control_actor
from orchestrator.engines.ray.engine import RayEngine, end_servers
from orchestrator.engines.ray.machines import Machines
from orchestrator.engines.ray.placing import place
from orchestrator.errors import ExpertError
from orchestrator.experts.base import Resources
from orchestrator.fleet.configfile import read_config
from tests.support.faulty import Servers, expert
from tests.support.launching import Fixed
from tests.support.places import ask
from tests.support.rays import add_node, devices_of, lose_node, nodes_apart, owner_of
from tests.support.servers import command, dies_when, server
from tests.support.service import write_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[3]
ONE, OTHER = "127.0.0.2", "127.0.0.3"
GPUS = 4
SOON_S = 20.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with nodes_apart(2, num_gpus=GPUS) as cluster:
        yield cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(cluster: Cluster) -> AsyncIterator[RayEngine]:
    async with engine_on(ONE, room_s=60.0) as engine:
        yield engine


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_is_kept(cluster: Cluster) -> AsyncIterator[None]:
    yield
    assert groups() == {}
    await until(lambda: ray.available_resources().get("GPU") == ray.cluster_resources()["GPU"])


@asynccontextmanager
async def engine_on(address: str, **options: Any) -> AsyncIterator[RayEngine]:
    engine = RayEngine(node_at(address), **options)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


def node_at(address: str) -> ClusterNode:
    return next(node for node in living_nodes() if node.address == address)


def on_gpus(count: float, launch: Fixed | None = None) -> Fixed:
    return replace(launch or server(), resources=Resources(gpus=count, memory_bytes=10**8))


def groups() -> dict[str, str]:
    """The state of each of the cluster's placement groups."""
    return {group["name"]: group["state"] for group in told_of_groups()}


def told_of_groups() -> list[dict[str, Any]]:
    return [group for group in placement_group_table().values() if group["state"] != "REMOVED"]


def group_of(expert: str, node: ClusterNode) -> str:
    return f"switchyard/server/{expert}@{node.id}"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not condition():  # noqa: ASYNC110 - what happens on other nodes gives no event
            await asyncio.sleep(0.01)


async def test_servers_of_several_gpus_have_a_group_each_on_their_node_and_end_in_order(engine: RayEngine) -> None:
    first, second = await asyncio.gather(*(engine.launch(name, on_gpus(2)) for name in ("first", "second")))
    assert {await devices_of(first.endpoint), await devices_of(second.endpoint)} == {"0,1", "2,3"}
    assert groups() == {group_of(name, engine.node): "CREATED" for name in ("first", "second")}
    for group in told_of_groups():
        assert group["bundles_to_node_id"] == {0: engine.node.id}
        assert group["bundles"] == {0: {"GPU": 2.0, "memory": 1e8}}
    await first.stop()
    assert first.exited.result() == 128 + signal.SIGTERM
    assert groups() == {group_of("second", engine.node): "CREATED"}
    await second.stop()


async def test_servers_of_one_gpu_or_less_have_none(engine: RayEngine) -> None:
    running = await asyncio.gather(*(engine.launch(f"narrow-{gpus}", on_gpus(gpus)) for gpus in (0, 0.5, 1)))
    assert groups() == {}
    await asyncio.gather(*(each.stop() for each in running))


async def test_who_waits_for_several_gpus_holds_none_of_them_and_gets_them_together(engine: RayEngine) -> None:
    half = await engine.launch("half", on_gpus(2))
    waits = asyncio.create_task(engine.launch("wide", on_gpus(3)))
    await until(lambda: groups().get(group_of("wide", engine.node)) == "PENDING")
    other_half = await engine.launch("other-half", on_gpus(2))
    assert not waits.done()
    await asyncio.gather(half.stop(), other_half.stop())
    wide = await waits
    assert await devices_of(wide.endpoint) == "0,1,2"
    await wide.stop()


async def test_what_others_hold_is_waited_for_only_so_long(engine: RayEngine) -> None:
    async with engine_on(ONE, room_s=0.5) as hasty:
        held = await engine.launch("half", on_gpus(2))
        problem = r"had no room for its server within 0\.5 s, which asks for 0 CPUs, 3 GPUs and 0\.1 GB of memory"
        with pytest.raises(ExpertError, match=problem):
            await hasty.launch("wide", on_gpus(3))
        assert groups().keys() == {group_of("half", engine.node)}
        await held.stop()


async def test_a_launch_that_fails_or_is_cancelled_gives_its_gpus_back(engine: RayEngine) -> None:
    with pytest.raises(ExpertError, match="no such model"):
        await engine.launch("wide", on_gpus(GPUS, command("print('no such model'); exit(3)", "{port}")))
    assert groups() == {}
    starts = asyncio.create_task(engine.launch("wide", on_gpus(3, command("import time; time.sleep(1000)", "{port}"))))
    await until(lambda: groups() == {group_of("wide", engine.node): "CREATED"})
    waits = asyncio.create_task(engine.launch("wider", on_gpus(GPUS)))
    await until(lambda: groups().get(group_of("wider", engine.node)) == "PENDING")
    for launching in (starts, waits):
        launching.cancel()
    await asyncio.wait({starts, waits})
    assert groups() == {}


async def test_a_server_that_ends_by_itself_gives_its_gpus_back(engine: RayEngine, tmp_path: Path) -> None:
    running = await engine.launch("wide", on_gpus(GPUS, server(dies_when(tmp_path / "die"))))
    (tmp_path / "die").touch()
    assert await asyncio.wait_for(running.exited, SOON_S) == 128 + signal.SIGSEGV
    again = await engine.launch("wide", on_gpus(GPUS))
    owner_of(again.endpoint).kill()
    assert await asyncio.wait_for(again.exited, SOON_S) == 128 + signal.SIGKILL
    await until(lambda: groups() == {})


async def test_a_lost_node_keeps_no_group_whether_its_server_ran_or_waited(cluster: Cluster) -> None:
    async with engine_on(OTHER) as engine:
        running = await engine.launch("half", on_gpus(2))
        waits = asyncio.create_task(engine.launch("wide", on_gpus(GPUS)))
        await until(lambda: len(groups()) == 2)
        lose_node(cluster, OTHER)
        with pytest.raises(ExpertError, match="gone"):
            await asyncio.wait_for(waits, SOON_S)
        assert await asyncio.wait_for(running.exited, SOON_S) == 128 + signal.SIGKILL
    assert groups() == {}
    add_node(cluster, OTHER, num_gpus=GPUS)


async def test_another_scheduler_finds_a_server_with_its_group_and_later_removes_both(cluster: Cluster) -> None:
    node = node_at(ONE)
    program = f"""
import asyncio, os, ray, signal
from tests.engines.ray.test_groups import GPUS, ONE, engine_on, on_gpus
async def main():
    async with engine_on(ONE) as engine:
        await engine.launch("wide", on_gpus(GPUS))
        os.kill(os.getpid(), signal.SIGKILL)
ray.init({ray.get_runtime_context().gcs_address!r}, namespace="another", log_to_driver=False)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, cwd=ROOT)
    assert await asyncio.wait_for(process.wait(), 60) == -signal.SIGKILL
    assert groups() == {group_of("wide", node): "CREATED"}
    async with engine_on(ONE) as successor:
        found = (await successor.found())["wide"]
        assert await devices_of(found.endpoint) == "0,1,2,3"
        await found.stop()
        assert found.exited.result() == 128 + signal.SIGTERM
        assert groups() == {}


async def test_another_scheduler_removes_what_was_never_ready_or_has_ended(cluster: Cluster) -> None:
    node = node_at(OTHER)
    begun = await asyncio.to_thread(place, "begun", node.id, OTHER, Resources(gpus=2))
    assert await begun.actor.state.remote() is None
    ended = await asyncio.to_thread(place, "ended", node.id, OTHER, Resources(gpus=2))
    ray.kill(ended.actor)
    assert len(groups()) == 2
    async with engine_on(OTHER) as successor:
        assert await successor.found() == {}
        assert groups() == {}


@pytest.mark.parametrize("gpus", [GPUS, pytest.param(1, marks=pytest.mark.slow)])
async def test_a_server_that_was_left_over_is_replaced(engine: RayEngine, gpus: int) -> None:
    left = await engine.launch("wide", on_gpus(gpus))
    async with engine_on(ONE) as successor:
        running = await successor.launch("wide", on_gpus(GPUS))
        assert await asyncio.wait_for(left.exited, SOON_S) == 128 + signal.SIGKILL
        assert groups() == {group_of("wide", engine.node): "CREATED"}
        assert await devices_of(running.endpoint) == "0,1,2,3"


async def test_all_servers_are_ended_with_their_groups(engine: RayEngine) -> None:
    running = await engine.launch("wide", on_gpus(2))
    placed = await asyncio.to_thread(place, "ended", engine.node.id, ONE, Resources(gpus=2))
    ray.kill(placed.actor)
    await asyncio.to_thread(end_servers)
    assert groups() == {}
    assert await asyncio.wait_for(running.exited, SOON_S) == 128 + signal.SIGKILL


@pytest.mark.slow
async def test_the_next_scheduler_removes_what_its_file_does_not_want_and_what_lost_nodes_had(
    cluster: Cluster, engine: RayEngine, tmp_path: Path
) -> None:
    unwanted = await engine.launch("unwanted", on_gpus(2))
    node = node_at(OTHER)
    for name in ("ran", "waited"):
        await asyncio.to_thread(place, name, node.id, OTHER, Resources(gpus=3))
    lose_node(cluster, OTHER)
    await until(lambda: node not in living_nodes())
    assert len(groups()) == 3
    machines = Machines(lambda node: node.address, lambda _: None)
    config = read_config(write_config(tmp_path, {"name": "a", "backend": "echo"}, engine="ray"))
    scheduler = await machines.scheduler(config, tmp_path)
    assert groups().keys() <= {group_of("unwanted", engine.node)}
    assert await asyncio.wait_for(unwanted.exited, SOON_S) == 128 + signal.SIGTERM
    await machines.unwatch()
    await scheduler.close()
    await machines.close()
    add_node(cluster, OTHER, num_gpus=GPUS)


@pytest.mark.slow
async def test_a_server_keeps_its_group_while_the_scheduler_is_away_and_has_none_after_the_service(
    cluster: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "wide").mkdir()
    path = write_config(tmp_path, expert("wide", resources={"gpus": GPUS}), engine="ray")
    attachment = await Attachment.of(Settings(path, "127.0.0.1", lasting=False), "test")
    async with attachment.scheduling(read_config(path)):
        scheduler = attachment.scheduler
        lease = await scheduler.acquire(ask("wide"))
        before = told_of_groups()
        ray.kill(running_control_actor(), no_restart=False)
        await until(lambda: not scheduler.is_connected)
        await until(lambda: scheduler.is_connected and "ready" in {each.state for each in scheduler.status()})
        assert groups() == {group_of("wide", node_at(lease.node)): "CREATED"}
        assert (told_of_groups(), Servers(tmp_path).launches("wide")) == (before, 1)
    await attachment.leave()
    assert groups() == {}
