"""Outcomes replayed through the simulator: real queries, whose expert the policy chooses, and what that expert earned on them.

    found = replays(DataSet("mine", (Path("mine.jsonl"),), folds=2), "auto", encoder)
    replayed = replay(found, arrivals, seed=0, mu=0.003)    # which queries come, one after another
    replayed.joint                                          # a Trace: every expert is a candidate, the scheduler chooses
    replayed.apart                                          # the same, each for the expert with the highest score
    replayed.earned(simulate(replayed.joint, setting, rules))       # (n,) rewards

The router is fitted on queries that are not replayed, and scores those that are once. An expert that was not tried on a query is no
candidate for it, so that every answer has a reward. Not here: when requests come (`workloads.py`), prices (lambda is 0), the
comparison over data sets and rates (`evals/bench_joint.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from evals.simulation.base import NOBODY, Floats, Ints, Run, Trace
from evals.sweeps.datasets import DataSet
from evals.sweeps.measuring import learning_types
from routers.base import Encoder
from routers.data.table import RewardTable
from routers.families.learned import EncodedRouter
from routers.registry import make_router

ROUTE_THEN_SCHEDULE = "route_then_schedule"
"""The row of our scheduler behind the same router, which chooses without it."""
FOLDS = 2
"""Half of the queries are replayed, scored by a router that is fitted on the other half."""


@dataclass(frozen=True, slots=True)
class Replay:
    """Queries that can be replayed. scores, rewards: (queries, E), what the router expects of each expert and what it earned.

    Both are NaN where an expert was not tried. groups: (queries,) numbers, the same for queries of one kind. texts: of the queries.
    """

    experts: tuple[str, ...]
    scores: Floats
    rewards: Floats
    groups: Ints
    texts: Sequence[str]

    def draw(self, n: int, seed: int) -> Ints:
        """(n,) indices of queries: all of them in random order, then all again in another."""
        rng = np.random.default_rng(seed)
        rounds = -(-n // len(self.scores))
        return np.concatenate([rng.permutation(len(self.scores)) for _ in range(rounds)])[:n]

    def draw_by_group(self, n: int, seed: int, run: int) -> Ints:
        """(n,) indices of queries that come by kind: `run` of one group, then as many of another; groups in random order."""
        rng = np.random.default_rng(seed)
        groups = rng.choice(np.unique(self.groups), -(-n // run))
        return np.concatenate([rng.choice(np.flatnonzero(self.groups == group), run) for group in groups])[:n]


@dataclass(frozen=True, slots=True)
class Replayed:
    """asked: (n,) which query of `source` each request of `joint` is."""

    source: Replay
    asked: Ints
    joint: Trace

    @property
    def apart(self) -> Trace:
        """The same requests when the router chooses alone: whoever has the highest score is the only candidate."""
        return replace(self.joint, utilities=None, mu=0.0)

    def earned(self, run: Run) -> Floats:
        """(n,) the recorded reward of whoever answered; NaN for a request that was refused."""
        return np.where(run.expert == NOBODY, np.nan, self.source.rewards[self.asked, run.expert])


def replay(found: Sequence[Replay], arrivals: Trace, seed: int, mu: float, group_run: int | None = None) -> Replayed:
    """Queries of one of `found`, which take turns by seed, at the times of `arrivals`.

    mu: reward given up per second of wait. group_run: how many queries of one kind come in a row; None means that all are mixed.
    """
    source, n = found[seed % len(found)], len(arrivals)
    asked = source.draw(n, seed) if group_run is None else source.draw_by_group(n, seed, group_run)
    scores = source.scores[asked]
    best = np.nanargmax(scores, axis=1).astype(np.int64)
    return Replayed(source, asked, replace(arrivals, expert=best, utilities=scores, mu=mu))


def replays(data: DataSet, router: str, encoder: Encoder, experts: Sequence[str] = ()) -> tuple[Replay, ...]:
    """One for each fold of the data, or one where it has a split of its own.

    router: a type of the registry that learns. experts: a fleet, by default all. Raises ValueError for another router, or for data
    that can't be split.
    """
    return tuple(_fitted(train, test, router, encoder) for train, test in data.protocol(0, experts).splits)


def _fitted(train: RewardTable, test: RewardTable, router: str, encoder: Encoder) -> Replay:
    fitted = make_router(router, experts=(), encoder=encoder, parameters={})
    if not isinstance(fitted, EncodedRouter):
        known = ", ".join(learning_types())
        raise ValueError(f"a router of type '{router}' learns nothing from outcomes, expected one of {known}")  # noqa: TRY004
    fitted.fit_encoded(train, fitted.encode(train.queries))
    test = test.only(fitted.experts_)
    scores = fitted.predict_encoded(fitted.encode(test.queries)).astype(np.float64)
    _, groups = np.unique(np.array(test.groups, dtype=str), return_inverse=True)
    rewards = test.rewards.astype(np.float64)
    return Replay(test.experts, np.where(test.tried, scores, np.nan), rewards, groups.astype(np.int64), test.queries)
