"""Nodes that are lost in several ways, and devices that are shared: a cluster whose second node has two GPUs on paper."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import psutil
import pytest
from ray.cluster_utils import Cluster

from orchestrator.engines.ray.cluster import ClusterNode, living_nodes
from orchestrator.engines.ray.engine import RayEngine
from orchestrator.errors import ExpertError
from orchestrator.experts.base import Resources
from tests.support.rays import all_gone, devices_of, nodes_apart, owner_of, raylet_of
from tests.support.servers import server

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with nodes_apart(1, num_gpus=2) as cluster:
        yield cluster


def node_apart() -> ClusterNode:
    return next(node for node in living_nodes() if node.address == "127.0.0.2")


@asynccontextmanager
async def engine_on(node: ClusterNode) -> AsyncIterator[RayEngine]:
    engine = RayEngine(node)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


async def test_servers_listen_at_their_nodes_address_and_see_the_devices_they_have(cluster: Cluster) -> None:
    async with engine_on(node_apart()) as engine:
        wide = await engine.launch("wide", replace(server(), resources=Resources(gpus=2)))
        assert wide.endpoint.base_url.startswith("http://127.0.0.2:")
        assert await devices_of(wide.endpoint) == "0,1"
        await wide.stop()
        half = replace(server(), resources=Resources(gpus=0.5))
        halves = [await engine.launch(f"half-{i}", half) for i in range(2)]
        assert len({await devices_of(server.endpoint) for server in halves}) == 1


@pytest.mark.parametrize("reaped", [True, False])
async def test_a_dead_raylet_is_a_lost_node_on_which_nothing_stays(cluster: Cluster, reaped: bool) -> None:
    node = node_apart()
    async with engine_on(node) as engine:
        running = await engine.launch("expert", server())
        owner = owner_of(running.endpoint)
        there = [owner, *owner.children(recursive=True)]
        raylet = raylet_of(cluster, node)
        raylet.kill()
        if reaped:
            raylet.wait()
        async with asyncio.timeout(10):
            assert await running.exited == 128 + signal.SIGKILL
            await engine.lost
            while node in living_nodes():  # noqa: ASYNC110 (the head gives no event)
                await asyncio.sleep(0.1)
        assert await all_gone(there)
        with pytest.raises(ExpertError, match="its node is gone"):
            await engine.launch("expert", server())


async def test_a_node_that_is_cut_off_is_lost_and_keeps_nothing_when_it_comes_back(cluster: Cluster) -> None:
    node = node_apart()
    async with engine_on(node) as engine:
        running = await engine.launch("expert", server())
        owner = owner_of(running.endpoint)
        there = [owner, *owner.children(recursive=True)]
        silent = [
            psutil.Process(raylet_of(cluster, node).pid),
            *psutil.Process(raylet_of(cluster, node).pid).children(),
        ]
        for process in silent:
            process.suspend()
        stopping = asyncio.create_task(running.stop())  # would hang
        async with asyncio.timeout(30):
            await engine.lost
            await stopping
        for process in silent:
            process.resume()
        assert await all_gone(there)
