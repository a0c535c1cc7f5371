"""One at a time on a cluster: whoever begins or ends the service there has the turn, and others wait for it.

    with turn():                                  # blocks until nobody else has it
        ...

It is an actor's name, which there can be one of. The actor ends with the process that made it, so that one that is killed leaves no
turn behind. Not here: what is done meanwhile (`driving.py`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.engines.ray.cluster import NAMESPACE

NAME = "turn"
LOOK_S = 0.2

logger = logging.getLogger(__name__)


class Turn:
    """Somebody's."""


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


def _take() -> Any | None:
    """None when somebody else has it."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    try:
        return ray.remote(Turn).options(name=NAME, namespace=NAMESPACE, num_cpus=0, scheduling_strategy=here).remote()
    except ValueError:
        return None
