"""Fleets for benchmarks of the scheduler: so many experts of a gigabyte on so many nodes, each on up to four of them.

    places, here, elsewhere = fleet_over(["a", "b"], 200, 400, 8, random.Random(0))
    Core(places, here.budget_bytes, 0.0, nodes=elsewhere)

Not here: what is asked of them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.engines.base import Launchable
from orchestrator.scheduler.base import NodeMemory, Place

SIZE_BYTES = 1_000_000_000
REPLICAS = 4


def fleet_over(
    names: Sequence[str],
    nodes: int,
    resident: int,
    concurrency: int,
    draw: random.Random,
    command: Launchable | None = None,
) -> tuple[tuple[Place, ...], NodeMemory, Mapping[str, NodeMemory]]:
    """The places, this machine's memory, and that of the nodes beside it. One node is this machine.

    resident: how many fit into memory in all, shared evenly, at least one on each node. command: that launches any of them.
    """
    one = Place("", "", holds_weights=True, memory_bytes=SIZE_BYTES, concurrency=concurrency, command=command)
    where = [f"node-{number}" for number in range(nodes)] if nodes > 1 else [""]
    places = tuple(
        replace(one, expert=name, host=name, node=node)
        for name in names
        for node in (draw.sample(where, min(REPLICAS, nodes)) if nodes > 1 else where)
    )
    memory = {name: NodeMemory(max(resident // nodes, 1) * SIZE_BYTES) for name in where}
    return places, memory.pop("", NodeMemory(0)), memory
