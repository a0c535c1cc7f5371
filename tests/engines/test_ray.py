"""The Ray engine on one node: what only it can do, and the rest in short (`test_contract.py` has all of it)."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import ray

from orchestrator.engines.ray.cluster import ClusterNode, join
from orchestrator.engines.ray.engine import RayEngine
from orchestrator.errors import ConfigError, ExpertError
from orchestrator.experts.base import Resources
from orchestrator.types import Endpoint
from tests.support.rays import all_gone, one_node, owner_of
from tests.support.servers import command, dies_when, server

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def node() -> Iterator[ClusterNode]:
    with one_node() as node:
        yield node


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(node: ClusterNode) -> AsyncIterator[RayEngine]:
    engine = RayEngine(node, host="127.0.0.1")
    await engine.start()
    yield engine
    await engine.close()


async def told_by(endpoint: Endpoint) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {endpoint.token}"}
    async with aiohttp.ClientSession() as http, http.get(endpoint.base_url, headers=headers) as response:
        assert response.status == 200
        told: dict[str, Any] = await response.json(content_type=None)
        return told


async def test_a_server_answers_until_it_is_stopped_and_has_nothing_of_rays(engine: RayEngine) -> None:
    running = await engine.launch("expert", server())
    env = (await told_by(running.endpoint))["env"]
    assert not [name for name in env if name.startswith("RAY_")]
    assert "OMP_NUM_THREADS" not in env  # Ray's workers have 1, of their own
    assert 0 < running.memory_bytes() < engine.memory_available_bytes()
    await running.stop()
    assert running.exited.result() == 128 + 15
    with pytest.raises(aiohttp.ClientConnectionError):
        await told_by(running.endpoint)


async def test_a_failed_launch_tells_the_servers_last_output(engine: RayEngine) -> None:
    with pytest.raises(
        ExpertError, match="exited with code 3 while starting; its last output: no such model"
    ) as caught:
        await engine.launch("expert", command("print('no such model'); exit(3)", "{port}"))
    assert (caught.value.expert, caught.value.kind) == ("expert", "not_loaded")


async def test_a_crash_is_noticed_and_logged_with_the_last_output(
    engine: RayEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = await engine.launch("expert", server(dies_when(tmp_path / "die", saying="ouch")))
    (tmp_path / "die").touch()
    assert await asyncio.wait_for(running.exited, 5) == 128 + 11
    assert running.memory_bytes() == 0
    assert "the server of expert exited with code 139: ouch" in caplog.text


async def test_a_killed_owner_takes_its_server_along(engine: RayEngine) -> None:
    running = await engine.launch("expert", server())
    owner = owner_of(running.endpoint)
    below = owner.children(recursive=True)
    owner.kill()
    assert await asyncio.wait_for(running.exited, 10) == 128 + 9
    assert await all_gone(below)


async def test_servers_outlive_whoever_launched_them_and_are_found(node: ClusterNode, engine: RayEngine) -> None:
    launch = server()
    running = await engine.launch("expert", launch)
    successor = RayEngine(node)
    await successor.start()
    found = (await successor.found())["expert"]
    assert (found.endpoint, found.launch, found.asleep) == (running.endpoint, launch, False)
    await successor.close()
    assert await asyncio.wait_for(running.exited, 5) == found.exited.result() == 128 + 15


async def test_a_server_that_was_left_over_is_replaced(node: ClusterNode, engine: RayEngine) -> None:
    left = await engine.launch("expert", server())
    successor = RayEngine(node, host="127.0.0.1")
    await successor.start()
    running = await successor.launch("expert", server())
    assert await asyncio.wait_for(left.exited, 5) == 128 + 9
    await told_by(running.endpoint)
    await successor.close()


async def test_what_the_node_can_never_give_is_refused_at_once(engine: RayEngine) -> None:
    with pytest.raises(ExpertError, match=r"asks for 0 CPUs, 3 GPUs and 1\.0 GB of memory; its node has [1-9]"):
        await engine.launch("expert", replace(server(), resources=Resources(gpus=3, memory_bytes=10**9)))


async def test_what_others_hold_is_waited_for_only_so_long(node: ClusterNode) -> None:
    most = replace(server(), resources=Resources(memory_bytes=node.memory_bytes * 2 // 3))
    engine = RayEngine(node, host="127.0.0.1", room_s=3.0)
    await engine.start()
    first = await engine.launch("first", most)
    with pytest.raises(ExpertError, match=r"had no room for its server within 3 s, which asks for .* memory"):
        await engine.launch("second", most)
    await first.stop()
    await engine.launch("second", most)
    await engine.close()


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("ray://head:10001", "is for Ray Client"),
        ("head", "is no address of a Ray cluster"),
        ("127.0.0.1:1", "no Ray cluster answers at '127.0.0.1:1': Connection refused"),
    ],
)
async def test_an_address_that_can_not_be_joined_is_refused(address: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        join(address)


async def test_who_has_no_token_is_told(node: ClusterNode, tmp_path: Path) -> None:
    script = f"from orchestrator.engines.ray.cluster import join; join({ray.get_runtime_context().gcs_address!r})"
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    env |= {"RAY_AUTH_MODE": "token", "HOME": str(tmp_path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, env=env, stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert b"ConfigError: can't join the Ray cluster at" in said
    assert b"no authentication token was found" in said


@pytest.mark.slow
async def test_another_process_joins_the_cluster_of_this_machine(node: ClusterNode) -> None:
    script = f"""
from orchestrator.engines.ray.cluster import join, living_nodes
cluster = join({ray.get_runtime_context().gcs_address!r})
assert not cluster.started_here
assert [node.id for node in living_nodes()] == [{node.id!r}]
cluster.leave()
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    assert await asyncio.wait_for(process.wait(), 60) == 0
