"""A Ray cluster of several nodes on this machine and the service on it, to measure what can be measured without having them.

    with nodes_of([1.0, 1.0, 1.0]) as nodes, service_on(sleepers(folder, 3, on_a_node=2)) as service:
        service.port, service.loads()
        nodes.kill(service.holders("expert-0")[0])

Each node has a `raylet` and an address of its own, on loopback; scheduler, engines, servers and the gateway are what `switchyard
serve --engine ray` runs, in processes of their own. The gateway has a port of its own instead of HAProxy's, and the ledger is
SQLite's. Experts sleep for as long as a model would compute, so that a few cores do for many of them. Not here: what is measured.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.engines.ray.cluster import HEALTH_CHECKS, NAMESPACE, NO_KILLING, ClusterNode, living_nodes
from orchestrator.engines.ray.control import Settings, control_actor, log_to_stderr, running_control_actor
from orchestrator.engines.ray.ingress import Link
from orchestrator.gateway.app import create_app
from orchestrator.gateway.server import bind, serve
from orchestrator.scheduler.base import ExpertStatus
from orchestrator.scheduler.remote.connection import Address
from orchestrator.service import Service, collect_garbage_less_often, running_over

EXPERT_GB = 0.1
SERVICE_S = 0.25
CONCURRENCY = 4
OBJECT_STORE_BYTES = 80_000_000
START_S = 60.0
STOP_S = 20.0
TOLD_S = 0.5
"""How often gateways are told how things are, at least."""
SERVER = "python -m evals.mock_upstream --host {host} --port {port} --latency-ms %g"


@dataclass(frozen=True, slots=True)
class EmulatedNodes:
    """cluster: its head is this process's node."""

    cluster: Cluster

    def kill(self, node: ClusterNode) -> float:
        """End its `raylet` by SIGKILL; what else runs on the node ends when it sees that. Returns when it was dead, monotonic s."""
        started = next(each for each in self.cluster.list_all_nodes() if each.node_id == node.id)
        raylet: subprocess.Popen[bytes] = started.all_processes["raylet"][0].process
        raylet.kill()
        raylet.wait()
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class RunningService:
    """port: of a gateway on the head, at 127.0.0.1."""

    port: int
    gateway: Any

    def status(self) -> tuple[ExpertStatus, ...]:
        """Of every replica, as the gateway knows it."""
        status: tuple[ExpertStatus, ...] = ray.get(self.gateway.status.remote())
        return status

    def loads(self) -> Counter[str]:
        """How often a server was launched, by node."""
        loads: Counter[str] = Counter()
        for each in self.status():
            loads[each.node] += each.loads
        return loads

    def holders(self, expert: str) -> list[ClusterNode]:
        """The nodes that have it in memory; waits until one has."""
        names: set[str] = set()
        while not names:
            time.sleep(TOLD_S)
            names = {each.node for each in self.status() if each.expert == expert and each.state == "ready"}
        return [node for node in living_nodes() if node.address in names]

    def scheduler_at(self) -> ClusterNode:
        """The scheduler's node."""
        actor = running_control_actor()
        assert actor is not None, "the gateway has found it"
        address: Address = ray.get(actor.address.remote())
        return next(node for node in living_nodes() if node.address == address.host)


def sleepers(folder: Path, experts: int, on_a_node: int | None = None) -> Path:
    """The YAML of so many experts, of which so many fit into a node's memory; by default that goes by the nodes' own."""
    expert = {
        "backend": "command",
        "command": SERVER % (1000 * SERVICE_S),
        "residency": {"memory_gb": EXPERT_GB},
        "limits": {"concurrency": CONCURRENCY},
    }
    named = [{"name": f"expert-{number}", **expert} for number in range(experts)]
    path = folder / "experts.yaml"
    memory = {} if on_a_node is None else {"budget_gb": on_a_node * EXPERT_GB}
    path.write_bytes(msgspec.json.encode({"version": 1, "memory": memory, "experts": named}))
    return path


@contextmanager
def nodes_of(memory_gb: Sequence[float]) -> Iterator[EmulatedNodes]:
    """A node of each size, the head first; this process is connected to them."""
    common = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES}
    head = {"include_dashboard": False, "_system_config": {**HEALTH_CHECKS, **NO_KILLING}}
    with _away_from_others():
        cluster = Cluster(True, False, {**common, **head, "memory": int(memory_gb[0] * 1e9)})
        try:
            for number, size_gb in enumerate(memory_gb[1:]):
                cluster.add_node(node_ip_address=f"127.0.0.{number + 2}", memory=int(size_gb * 1e9), **common)
            ray.init(cluster.address, namespace=NAMESPACE, log_to_driver=False, logging_level="error")
            yield EmulatedNodes(cluster)
        finally:
            ray.shutdown()
            cluster.shutdown()


@contextmanager
def _away_from_others() -> Iterator[None]:
    """What Ray writes goes into a folder of its own, and no cluster that runs on this machine is joined."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets below it have paths of 107 bytes at most
    before = dict(os.environ)
    os.environ.pop("RAY_ADDRESS", None)
    os.environ.update(RAY_TMPDIR=folder, RAY_USAGE_STATS_ENABLED="0")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def service_on(config: Path) -> Iterator[RunningService]:
    """A scheduler on one of the nodes, and a gateway on this process's node."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    gateway = ray.remote(GatewayActor).options(num_cpus=0, scheduling_strategy=here).remote(config)
    try:
        yield RunningService(ray.get(gateway.start.remote(), timeout=START_S), gateway)
    finally:
        ray.get(gateway.stop.remote(), timeout=STOP_S)
        ray.kill(gateway)
        control = control_actor(Settings(config, "0.0.0.0"))
        ray.get(control.close.remote(), timeout=STOP_S)
        ray.kill(control)


class GatewayActor:
    """A gateway as Serve runs it (`orchestrator/engines/ray/ingress.py`), but that it listens by itself."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._stack = AsyncExitStack()
        self._service: Service

    async def start(self) -> int:
        """Returns its port."""
        log_to_stderr()
        link = await Link.of(Settings(self._config, "0.0.0.0"), "gateway")
        self._service = await self._stack.enter_async_context(running_over(self._config, link.scheduling))
        context = replace(self._service.gateway_context(), unready=link.problem, measured=link.measured)
        following = asyncio.create_task(link.follow(context.lifecycle, context.metrics))
        self._stack.callback(following.cancel)
        listener, stop = bind("127.0.0.1", 0), asyncio.Event()
        serving = asyncio.create_task(serve(create_app(context), context.lifecycle, listener, stop=stop, drain_s=1.0))
        self._stack.push_async_callback(asyncio.wait, {serving})
        self._stack.callback(stop.set)
        collect_garbage_less_often()
        port: int = listener.getsockname()[1]
        return port

    async def status(self) -> tuple[ExpertStatus, ...]:
        return self._service.scheduler.status()

    async def stop(self) -> None:
        await self._stack.aclose()
