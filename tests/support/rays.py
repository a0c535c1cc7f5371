"""Ray clusters for tests, on this machine, which leave no process behind.

with one_node() as node:                      # a ClusterNode; this process is connected
    ...
with nodes_apart(2) as cluster:               # a ray.cluster_utils.Cluster, beside its head so many nodes at 127.0.0.x
    lose_node(cluster, "127.0.0.2")
    add_node(cluster, "127.0.0.2", num_gpus=1)
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from orchestrator.engines.ray.cluster import HEALTH_CHECKS, NAMESPACE, ClusterNode, join, living_nodes
from orchestrator.types import Endpoint
from tests.support.supervised import PORTS, free_port

COMMON = {"num_cpus": 1, "object_store_memory": 80_000_000}
GONE_WITHIN_S = 20


@contextmanager
def one_node() -> Iterator[ClusterNode]:
    with _alone():
        cluster = join()
        try:
            assert cluster.started_here
            (node,) = living_nodes()
            yield node
        finally:
            cluster.leave()


@contextmanager
def nodes_apart(count: int, **resources: Any) -> Iterator[Cluster]:
    """resources: of each node beside the head, as `ray start` has them."""
    with _alone():
        cluster = Cluster(True, False, {**COMMON, "include_dashboard": False, "_system_config": dict(HEALTH_CHECKS)})
        try:
            for i in range(count):
                add_node(cluster, f"127.0.0.{i + 2}", **resources)
            ray.init(cluster.address, namespace=NAMESPACE, log_to_driver=False, logging_level="error")
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


def add_node(cluster: Cluster, address: str, **resources: Any) -> None:
    cluster.add_node(node_ip_address=address, **{**COMMON, **resources})


def lose_node(cluster: Cluster, address: str) -> None:
    """Its `raylet` by SIGKILL, and what Ray runs beside it."""
    node = next(each for each in cluster.list_all_nodes() if each.node_ip_address == address)
    cluster.remove_node(node, allow_graceful=False)


def owner_of(endpoint: Endpoint) -> psutil.Process:
    """The process of the actor that holds the server."""
    port = int(endpoint.base_url.removesuffix("/v1").rpartition(":")[2])
    listening = next(
        each for each in psutil.net_connections("tcp") if each.laddr.port == port and each.status == "LISTEN"
    )
    assert listening.pid is not None
    return next(each for each in psutil.Process(listening.pid).parents() if each.name().startswith("ray::"))


async def devices_of(endpoint: Endpoint) -> str | None:
    """What a server of `tests.support.servers` was told of GPUs."""
    headers = {"Authorization": f"Bearer {endpoint.token}"}
    async with aiohttp.ClientSession() as http, http.get(endpoint.base_url, headers=headers) as response:
        devices: str | None = (await response.json(content_type=None))["env"].get("CUDA_VISIBLE_DEVICES")
        return devices


async def all_gone(processes: list[psutil.Process]) -> bool:
    """Whether they are, soon."""
    _, left = await asyncio.to_thread(psutil.wait_procs, processes, GONE_WITHIN_S)
    return not left


def raylet_of(cluster: Cluster, node: ClusterNode) -> subprocess.Popen[bytes]:
    started = next(each for each in cluster.list_all_nodes() if each.node_id == node.id)
    raylet: subprocess.Popen[bytes] = started.all_processes["raylet"][0].process
    return raylet


@contextmanager
def _alone() -> Iterator[None]:
    """Away from other clusters of this machine. Asserts that nothing of it is left afterwards."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets below it have paths of 107 bytes at most
    before = set(psutil.Process().children(recursive=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        for name in PORTS:
            patch.setenv(name, str(free_port()))
        try:
            yield
        finally:
            left = [process for process in psutil.Process().children(recursive=True) if process not in before]
            _, left = psutil.wait_procs([*left, *_started_in(Path(folder))], timeout=GONE_WITHIN_S)
            shutil.rmtree(folder, ignore_errors=True)
    assert not left + _started_in(Path(folder))


def _started_in(folder: Path) -> list[psutil.Process]:
    """Ray's processes that are nobody's children any more."""
    return [
        each
        for each in psutil.process_iter(["cmdline"])
        if any(str(folder) in word for word in each.info["cmdline"] or ())
    ]
