"""Which expert each line of a batch gets when an expert may have only so many of them.

    experts = await share_out(requests, utilities, {"gpt-large": 200})
    experts["5d41..."]                              # 'smollm2': by the key of a line

All lines for which a policy chooses one expert are scored before anything is asked, and get the experts with which the sum of their
utilities is highest: the few places go to those who gain most by them over their second choice. Such a line is asked of its expert
alone. Those that name their expert, and those that may ask several, are left as they are and not counted. Not here: the sum itself
(`routers/assignment.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import islice

import numpy as np

from orchestrator.bulk.lines import Request
from orchestrator.errors import DataError
from orchestrator.experts.served import require

SCORED_AT_ONCE = 64

Utilities = Callable[[Request], Awaitable[Mapping[str, float]]]
"""What a line is worth to each expert that may answer it; nothing where that is not for a policy to choose."""


async def share_out(requests: Iterable[Request], utilities: Utilities, places: Mapping[str, int]) -> dict[str, str]:
    """places: of each expert that has few.

    Raises `DataError` when there are too few for the lines that can go nowhere else, and `MissingExtra` without SciPy.
    """
    require("scipy", "a batch with few places", "train")
    from routers.assignment import assign

    found: dict[str, Mapping[str, float]] = {}
    rest = iter(requests)
    while some := list(islice(rest, SCORED_AT_ONCE)):
        worths = await asyncio.gather(*map(utilities, some))
        found |= {request.key: worth for request, worth in zip(some, worths, strict=True) if worth}
    names = sorted(set().union(*found.values()))
    scores = np.array([[worth.get(name, -np.inf) for name in names] for worth in found.values()], dtype=np.float32)
    capacities = np.array([min(places.get(name, len(found)), len(found)) for name in names], dtype=np.intp)
    try:
        assigned = await asyncio.to_thread(assign, scores.reshape(len(found), len(names)), capacities)
    except ValueError as exc:
        raise DataError(f"too few places for the lines: {exc}") from exc
    return {key: names[expert] for key, expert in zip(found, assigned.experts, strict=True)}
