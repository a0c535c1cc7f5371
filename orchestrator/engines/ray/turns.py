"""One at a time on a cluster: whoever begins or ends the service there has the turn, and others wait for it.

    with turn():                                  # blocks until nobody else has it
        note_serving(cluster.own_job)
        any_serves(cluster.others("driving"))     # whether one of these jobs has noted it, too

A turn is an actor's name, which there can be one of. The actor ends with the process that made it, so that one that is killed
leaves no turn behind. Who serves is noted with the cluster's head, which outlives all actors; a note that a killed process has left
is of a job that is over. Not here: what is done meanwhile (`driving.py`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_exists, _internal_kv_put
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.engines.ray.cluster import NAMESPACE

NAME = "turn"
LOOK_S = 0.2
SERVING = "serving-"
"""And a job: the key of a note."""

logger = logging.getLogger(__name__)


class Turn:
    """Somebody's."""


REMOTE: Any = ray.remote(Turn)


@contextmanager
def turn() -> Iterator[None]:
    """Have it. This process is connected to the cluster."""
    mine = _take()
    if mine is None:
        logger.info("another process begins or ends the service on this cluster; waiting for it")
        while (mine := _take()) is None:
            time.sleep(LOOK_S)
    try:
        yield
    finally:
        ray.kill(mine)


def note_serving(job: str) -> None:
    """From now on. job: of this process. Blocks."""
    _internal_kv_put(SERVING + job, "", namespace=NAMESPACE)


def note_stopping(job: str) -> None:
    """No longer, if ever. job: of this process. Blocks."""
    _internal_kv_del(SERVING + job, namespace=NAMESPACE)


def any_serves(jobs: Iterable[str]) -> bool:
    """Whether one of them does, as far as it is noted. Blocks."""
    return any(_internal_kv_exists(SERVING + job, namespace=NAMESPACE) for job in jobs)


def _take() -> Any | None:
    """None when somebody else has it."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    try:
        return REMOTE.options(name=NAME, namespace=NAMESPACE, num_cpus=0, scheduling_strategy=here).remote()
    except ValueError:
        return None
