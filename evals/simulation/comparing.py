"""Several policies on the same requests, over several seeds and processes: a row for each.

    entrants = [Entrant(name, name, requests) for name in ("switchyard", "fifo")]
    rows = compare(entrants, setting, rate=3.0, seeds=5, workers=2)

Every seed's requests are the same for all, so that policies can be compared request by request. Not here: what is asked
(`workloads.py`, `traces.py`, `replay.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from evals.simulation.base import Floats, Run, Setting
from evals.simulation.limits import Requests, max_rate
from evals.simulation.measures import Row, measure
from evals.simulation.registry import make_rules
from evals.simulation.running import simulate
from evals.sweeps.spreading import processes
from routers.training.judging import Progress, quiet

T = TypeVar("T")
Earned = Callable[[int, Run], Floats]
"""From a seed and its run to the reward of each request."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """A row of the comparison: a policy of the registry, and the requests that it gets."""

    name: str
    policy: str
    requests: Requests
    earned: Earned | None = None


def compare(
    entrants: Sequence[Entrant],
    setting: Setting,
    *,
    rate: float,
    seeds: int,
    workers: int = 1,
    limits: bool = False,
    progress: Progress = quiet,
) -> list[Row]:
    """limits: whether to look for the rate that each can take, too. Raises what `simulate` and `measure` raise."""
    calls = [(entrant, setting, rate, seed) for entrant in entrants for seed in range(seeds)]
    runs = _spread(_run, calls, workers, "simulating", progress)
    highest: list[float | None] = [None] * len(entrants)
    if limits:
        searches = [(entrant, setting, seeds, rate) for entrant in entrants]
        highest = _spread(_highest, searches, workers, "looking for the highest rates", progress)
    rows = []
    for number, entrant in enumerate(entrants):
        own = runs[number * seeds : (number + 1) * seeds]
        rewards = [] if entrant.earned is None else [entrant.earned(seed, run) for seed, run in enumerate(own)]
        rows.append(measure(entrant.name, own, rewards, highest[number]))
    return rows


def _run(entrant: Entrant, setting: Setting, rate: float, seed: int) -> Run:
    trace = entrant.requests(rate, seed)
    return simulate(trace, setting, make_rules(entrant.policy, setting, trace), seed=seed)


def _highest(entrant: Entrant, setting: Setting, seeds: int, start: float) -> float | None:
    return max_rate(entrant.requests, setting, entrant.policy, seeds, start)


def _spread(
    function: Callable[..., T], calls: Sequence[tuple[Any, ...]], workers: int, stage: str, progress: Progress
) -> list[T]:
    """The results of the calls, in their order; they are made in any order, over several processes."""
    results: dict[int, T] = {}
    progress(stage, 0, len(calls))
    with processes(min(workers, len(calls))) as spread:
        for number, result in spread([(_numbered, (number, function, call)) for number, call in enumerate(calls)]):
            results[number] = result
            progress(stage, len(results), len(calls))
    return [results[number] for number in range(len(calls))]


def _numbered(number: int, function: Callable[..., T], arguments: tuple[Any, ...]) -> tuple[int, T]:
    return number, function(*arguments)
