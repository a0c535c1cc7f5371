"""Placement groups: a server's GPUs on one node, all of them or none, which its actor then runs in.

    group = make_group("server/qwen@<node>", node.id, Resources(gpus=4))      # at once; whose actor begins when it has all
    strategy = PlacementGroupSchedulingStrategy(group)
    standing_groups()                             # {"server/qwen@<node>": group}, whoever has made them
    remove_placement_group(group)                 # Ray's own: ends what runs in it, and gives everything back

A group waits as one, so that two servers never wait for one another, each with half a node. It is one bundle of all GPUs: an actor
takes from a single bundle, and vLLM, as a process below the actor, runs by itself on what `CUDA_VISIBLE_DEVICES` shows there; a
bundle for each GPU is what it would want if it launched actors. It outlives whoever has made it, and its actor. Not here: whose
it is, and its end (`placing.py`).
"""

from __future__ import annotations

from ray import PlacementGroupID
from ray.util import placement_group, placement_group_table
from ray.util.placement_group import PlacementGroup

from orchestrator.engines.ray.cluster import NAMESPACE
from orchestrator.experts.base import Resources

PREFIX = f"{NAMESPACE}/"
"""Of their names; others of the cluster may have groups, too."""


def make_group(name: str, node_id: str, resources: Resources) -> PlacementGroup:
    """On that node and no other, be it lost. Blocks. Raises `RaySystemError` while the name is taken."""
    taken = {"CPU": resources.cpus, "GPU": resources.gpus, "memory": float(resources.memory_bytes)}
    there = {"ray.io/node-id": node_id}
    return placement_group([taken], "STRICT_PACK", PREFIX + name, "detached", bundle_label_selector=[there])


def standing_groups() -> dict[str, PlacementGroup]:
    """Those that have, or wait for, something of a node, by name. Blocks."""
    table = placement_group_table()  # which remembers those that are removed
    standing = {told["name"]: key for key, told in table.items() if told["state"] != "REMOVED"}
    return {
        name.removeprefix(PREFIX): PlacementGroup(PlacementGroupID.from_hex(key))
        for name, key in standing.items()
        if name.startswith(PREFIX)
    }
