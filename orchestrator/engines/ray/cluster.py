"""A Ray cluster, joined or started here, and what nodes it has.

    cluster = join(config.ray.address)            # blocks for seconds
    living_nodes()                                # (ClusterNode(address="10.0.0.7", ...), ...)
    cluster.leave()

What is started here is quiet and needs no network: no usage statistics, no dashboard, no logs of workers, a small object store,
since Ray carries control only. Not here: what runs on the nodes (`servers.py`).
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

import psutil
import ray
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray.exceptions import AuthenticationError

from orchestrator.errors import ConfigError
from orchestrator.experts.base import Resources

NAMESPACE = "switchyard"
OBJECT_STORE_BYTES = 100_000_000
CONNECT_S = 5.0
HEALTH_CHECKS = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}
"""A node whose `raylet` is gone is lost after about a second, one that is cut off after about five; Ray's own values take 15 s and
more. They are the head's: where it is started by others, `RAY_health_check_period_ms=500` and so on in its environment."""
NO_KILLING = {"memory_monitor_refresh_ms": 0}
"""When a node's memory is nearly full, as experts are to make it, Ray kills what it can start again: the scheduler, a gateway."""


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """A living node. memory_bytes, cpus, gpus: what Ray may give away of it."""

    id: str
    address: str
    memory_bytes: int
    cpus: float
    gpus: float

    @property
    def resources(self) -> Resources:
        return Resources(self.cpus, self.gpus, self.memory_bytes)


@dataclass(frozen=True, slots=True)
class Cluster:
    """started_here: it ends with this process. vital: what runs on this machine without which this process is no part of it."""

    started_here: bool
    vital: tuple[psutil.Process, ...] = ()

    @property
    def is_lost(self) -> bool:
        """Whether that is so, for good."""
        return any(map(_has_ended, self.vital))

    @property
    def own_job(self) -> str:
        """What the head knows this process by."""
        job: str = ray.get_runtime_context().get_job_id()
        return job

    def others(self, program: str) -> set[str]:
        """The jobs of other processes that have joined it, whose command line has `program` in it. Asks the head; blocks."""
        living = (job for job in ray._private.state.jobs() if not job["IsDead"] and job["JobID"] != self.own_job)
        return {job["JobID"] for job in living if program in job["Entrypoint"]}

    def leave(self) -> None:
        """Disconnect, and end the cluster if it was started here."""
        ray.shutdown()


def join(address: str | None = None, environment: Mapping[str, str] | None = None) -> Cluster:
    """Connect to the cluster at `address` or `$RAY_ADDRESS` (`auto`: the one that runs on this machine), else start one here.

    environment: of what this process has started on the cluster; on one that is started here, this process's own is inherited.
    Takes over SIGTERM: who wants to handle it does so afterwards. Raises `ConfigError` when there is no such cluster.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    logging.getLogger("ray").setLevel(logging.ERROR)  # it warns before it is told to be quiet
    address = address or os.environ.get("RAY_ADDRESS") or None
    quiet = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": "error"}
    if address is None:
        ray.init("local", **quiet, **_head())
        return Cluster(started_here=True, vital=_vital())
    _check(address)
    maybe_enable_token_auth_if_token_available(
        warn_if_disabled=False
    )  # as `ray start` does; `ray.init` asks to be told
    try:
        ray.init(address, **quiet, runtime_env={"env_vars": dict(environment or {})})
    except (ConnectionError, RuntimeError, ValueError, AuthenticationError) as exc:
        raise ConfigError(f"can't join the Ray cluster at '{address}' from this machine: {exc}") from exc
    return Cluster(started_here=False, vital=_vital())


def is_to_be_started(address: str | None) -> bool:
    """Whether `join` would start a cluster."""
    return not (address or os.environ.get("RAY_ADDRESS"))


def living_nodes() -> tuple[ClusterNode, ...]:
    """The nodes that are alive, by address; asks the head. Blocks."""
    found = (_node(each) for each in ray.nodes() if each["Alive"])
    return tuple(sorted(found, key=lambda node: (node.address, node.id)))


def own_node() -> ClusterNode:
    """The node that this process runs on. Blocks. Raises KeyError where the head takes it for lost."""
    nodes = {node.id: node for node in living_nodes()}
    return nodes[ray.get_runtime_context().get_node_id()]


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # in this moment
        return True


def _vital() -> tuple[psutil.Process, ...]:
    """The `raylet` of this process's node, if it is in sight, and a head that this process has started."""
    address = ray._private.worker.global_worker.node.raylet_socket_name
    raylets = (each for each in psutil.process_iter(["name", "cmdline"]) if each.info["name"] == "raylet")
    own = (each for each in raylets if any(word.endswith(address) for word in each.info["cmdline"] or ()))
    return *own, *(child for child in psutil.Process().children() if child.name() == "gcs_server")


def _head() -> dict[str, object]:
    return {
        "num_cpus": len(os.sched_getaffinity(0)),
        "object_store_memory": OBJECT_STORE_BYTES,
        "_memory": psutil.virtual_memory().total,
        "include_dashboard": False,
        "_system_config": {**HEALTH_CHECKS, **NO_KILLING},
    }


def _check(address: str) -> None:
    """Raises `ConfigError` for what Ray would refuse late, or not at all."""
    if "://" in address:
        expected = "expected HOST:PORT or auto, on a machine that is a node of the cluster"
        raise ConfigError(f"'{address}' is for Ray Client, which can't carry Switchyard; {expected}")
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"'{address}' is no address of a Ray cluster; expected HOST:PORT or auto")
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except OSError as exc:
        raise ConfigError(f"no Ray cluster answers at '{address}': {exc.strerror or exc}") from exc


def _node(told: dict[str, object]) -> ClusterNode:
    resources = told["Resources"]
    assert isinstance(resources, dict)
    return ClusterNode(
        id=str(told["NodeID"]),
        address=str(told["NodeManagerAddress"]),
        memory_bytes=int(resources.get("memory", 0)),
        cpus=float(resources.get("CPU", 0)),
        gpus=float(resources.get("GPU", 0)),
    )
