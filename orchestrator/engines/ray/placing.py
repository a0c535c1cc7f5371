"""An actor for a server on a node of the cluster, with all that it takes there.

    placed = place("smollm2", node.id, host, Resources(gpus=2))    # begins when the node has all of it
    state = await placed.actor.launch.remote(launch)
    placed.end()                                                   # at once, and gives everything back
    standing(lambda node_id: node_id == node.id)                   # what others have placed: [Placed("smollm2", ...)]

Actors and groups are kept in the cluster, under names, so that they outlive whoever placed them. These functions ask the head, and
block; while it is away until it is back, or Ray ends this process. Not here: what the actors do (`servers.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RaySystemError
from ray.util import list_named_actors, remove_placement_group
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from orchestrator.engines.ray.cluster import NAMESPACE
from orchestrator.engines.ray.groups import make_group, standing_groups
from orchestrator.engines.ray.servers import ServerActor
from orchestrator.experts.base import Resources

PREFIX = "server/"
NAME_S = 5.0
RETRY_S = 0.1
_SERVER_ACTOR = ray.remote(ServerActor)
"""Made once: the head is told of each class that is made remote, and forgets none."""


@dataclass(frozen=True, slots=True)
class Placed:
    """actor: None where only its group is left. group: of a server that takes several GPUs."""

    expert: str
    actor: Any
    group: PlacementGroup | None

    def end(self) -> None:
        """May be called twice."""
        try:
            if self.actor is not None:
                ray.kill(self.actor)
        finally:
            if self.group is not None:
                remove_placement_group(self.group)


def place(expert: str, node_id: str, host: str, resources: Resources) -> Placed:
    """One that was left over is replaced. host: the address that its server listens at."""
    give_up_at = time.monotonic() + NAME_S
    while True:
        try:
            return _place(expert, node_id, host, resources)
        except (RaySystemError, ValueError):  # the name is taken, if only by one that is being ended
            if time.monotonic() > give_up_at:
                raise
            for left in standing(lambda other: other == node_id):
                if left.expert == expert:
                    left.end()
            time.sleep(RETRY_S)


def standing(is_meant: Callable[[str], bool]) -> list[Placed]:
    """What was placed, by whomever, on the nodes that are meant, by their ids."""
    groups = standing_groups()
    actors = {each["name"] for each in list_named_actors(all_namespaces=True) if each["namespace"] == NAMESPACE}
    found = []
    for name in actors | groups.keys():
        expert, _, node_id = name.removeprefix(PREFIX).rpartition("@")
        if name == _name(expert, node_id) and is_meant(node_id):
            found.append(Placed(expert, _actor(name), groups.get(name)))
    return found


def _name(expert: str, node_id: str) -> str:
    return f"{PREFIX}{expert}@{node_id}"


def _place(expert: str, node_id: str, host: str, resources: Resources) -> Placed:
    name = _name(expert, node_id)
    group = make_group(name, node_id, resources) if resources.gpus > 1 else None
    on_node = NodeAffinitySchedulingStrategy(node_id, soft=False)
    options = {
        "name": name,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "num_cpus": resources.cpus,
        "num_gpus": resources.gpus,
        "memory": resources.memory_bytes,
        "scheduling_strategy": on_node if group is None else PlacementGroupSchedulingStrategy(group),
    }
    try:
        return Placed(expert, _SERVER_ACTOR.options(**options).remote(expert, host), group)
    except BaseException:
        Placed(expert, None, group).end()
        raise


def _actor(name: str) -> Any:
    with suppress(ValueError):  # there is none, or it has ended since
        return ray.get_actor(name, NAMESPACE)
    return None
