"""How many calls it takes to know which expert is best: adaptive samplers against asking everybody everything.

    python -m evals.bench active --seeds 20

Rewards of real outcome tables are replayed as paid calls, the queries in another order for each seed. `these`: the verdict is about
the table, without replacement. `like these`: about all queries like the table's, which are drawn from it with replacement, at most
`DRAWN` times its length. `one order` is simulated: experts of which one is better than the next by `GAP` in `NUM_TELLING` of
`NUM_GROUPS` groups and equal to it in the others, as active ranking assumes; no real table here is like that. `not paired` breaks
the pairs: every expert answers the queries in an order of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evals.active.base import Goal, Problem, Verdict
from evals.active.registry import SAMPLERS, make_sampler
from evals.active.replaying import replay
from evals.protocols import MID_POOL, TWELVE
from routers.base import FloatArray
from routers.data.outcomes import read_outcomes
from routers.data.table import RewardTable
from routers.training.evaluation import Interval, bootstrap

TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "mmlupro10": ("mmlupro28-dev", MID_POOL),
    "zeroeval12": ("zeroeval-dev", TWELVE),
    "llmrouter9": ("llmrouter9-train", ()),
    "routerbench11": ("routerbench11-dev", ()),
}
"""File and experts (none: all) by name."""
ONE_ORDER = "one order"
GOALS: tuple[Goal, ...] = ("best", "best-by-group", "ranking")
NOT_FOR = {("active_ranking", "these")}
DRAWN = 4
GAP = 0.15
NUM_EXPERTS, NUM_GROUPS, NUM_TELLING, NUM_SIMULATED = 6, 16, 2, 40_000
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Row:
    """calls: mean over seeds, with its 95% interval; share: of asking every expert every query. ratio: to the calls of `uniform`
    with the same seed, mean and interval. decided, right: shares of seeds; wrong is a statement that isn't so.
    """

    data: str
    about: str
    goal: str
    sampler: str
    calls: float
    low: float
    high: float
    share: float
    ratio: float
    ratio_low: float
    ratio_high: float
    decided: float
    right: float


@dataclass(frozen=True)
class _Draw:
    """One seed's queries. rewards: `(n_queries, n_experts)`. truth: `(n_groups, n_experts)`, mean rewards; overall: of all."""

    problem: Problem
    rewards: FloatArray
    truth: FloatArray
    overall: FloatArray


@dataclass(frozen=True, slots=True)
class _Run:
    calls: int
    decided: bool
    right: bool


_Drawing = Callable[[int], _Draw]


def bench_active(data: Path, *, seeds: int, delta: float, only: Sequence[str] = ()) -> Iterator[Row]:
    """data: the folder of outcome files; those that are missing are left out, and so are those not in `only`, if it names any."""
    for name, (file, experts) in TABLES.items():
        path = data / f"{file}.jsonl.gz"
        if path.exists() and (not only or name in only):
            table = RewardTable.of(read_outcomes(path))
            table = table.only(experts) if experts else table
            for about, drawing in (("these", _shuffled(table, delta)), ("like these", _resampled(table, delta))):
                for goal in GOALS:
                    yield from _rows(name, about, goal, drawing, seeds)
    if not only or ONE_ORDER in only:
        yield from _rows(ONE_ORDER, "like these", "best", _one_order(delta), seeds)
        yield from _rows(ONE_ORDER, "like these", "ranking", _one_order(delta), seeds)


def _rows(data: str, about: str, goal: Goal, drawing: _Drawing, seeds: int) -> Iterator[Row]:
    names = [name for name, (goals, _) in SAMPLERS.items() if goal in goals and (name, about) not in NOT_FOR]
    runs: dict[str, list[_Run]] = {name: [] for name in names}
    if goal == "best":
        runs["not paired"] = []
    for seed in range(seeds):
        draw = drawing(seed)
        size = draw.rewards.size
        for name in names:
            runs[name].append(_run(name, goal, draw, draw.rewards))
        if goal == "best":
            unpaired = np.random.default_rng(seed).permuted(draw.rewards, axis=0)
            runs["not paired"].append(_run("best_arm", goal, draw, unpaired))
    baseline = np.array([run.calls for run in runs["uniform"]])
    for name, done in runs.items():
        yield _row((data, about, goal, name), done, baseline, size)


def _run(name: str, goal: Goal, draw: _Draw, rewards: FloatArray) -> _Run:
    replayed = replay(make_sampler(name, draw.problem, goal), rewards)
    return _Run(replayed.num_calls, replayed.verdict.decided, is_right(replayed.verdict, draw.truth, draw.overall))


def _row(key: tuple[str, str, str, str], runs: Sequence[_Run], baseline: NDArray[np.intp], size: int) -> Row:
    calls = np.array([run.calls for run in runs], dtype=np.float32)
    mean, ratio = bootstrap(calls), bootstrap((calls / baseline).astype(np.float32))
    decided, right = (float(np.mean([getattr(run, name) for run in runs])) for name in ("decided", "right"))
    return Row(*key, *_ends(mean), mean.mean / size, *_ends(ratio), decided, right)


def _ends(found: Interval) -> tuple[float, float, float]:
    return found.mean, found.low, found.high


def is_right(verdict: Verdict, truth: FloatArray, overall: FloatArray) -> bool:
    """Whether everything that is stated is so. truth: `(n_groups, n_experts)` and overall `(n_experts,)`: true mean rewards."""
    means = truth if verdict.goal == "best-by-group" else overall[None]
    best = all(
        max(row[list(standing)]) >= row.max() - TOLERANCE
        for row, standing in zip(means, verdict.standing, strict=False)
    )
    stated = ((i, j) for place, i in enumerate(verdict.ranking) for j in verdict.ranking[place + 1 :])
    ordered = all(overall[i] >= overall[j] - TOLERANCE for i, j in stated if (i, j) not in verdict.unsettled)
    crossed = all(
        truth[each.better_in, each.first] > truth[each.better_in, each.second]
        and truth[each.worse_in, each.first] < truth[each.worse_in, each.second]
        for each in verdict.crossings
    )
    return best and ordered and crossed


def _shuffled(table: RewardTable, delta: float) -> _Drawing:
    """The whole table in another order."""
    groups, truth = _grouped(table)

    def draw(seed: int) -> _Draw:
        order = np.random.default_rng(seed).permutation(len(table))
        problem = Problem(len(table.experts), groups[order], delta, finite=True)
        return _Draw(problem, table.rewards[order], truth, table.rewards.mean(axis=0))

    return draw


def _resampled(table: RewardTable, delta: float) -> _Drawing:
    """Queries drawn from the table, again and again."""
    groups, truth = _grouped(table)

    def draw(seed: int) -> _Draw:
        drawn = np.random.default_rng(seed).integers(0, len(table), DRAWN * len(table))
        problem = Problem(len(table.experts), groups[drawn], delta)
        return _Draw(problem, table.rewards[drawn], truth, table.rewards.mean(axis=0))

    return draw


def _grouped(table: RewardTable) -> tuple[NDArray[np.intp], FloatArray]:
    """The number of each query's group, and mean rewards `(n_groups, n_experts)`."""
    names = sorted({str(group) for group in table.groups})
    groups = np.array([names.index(str(group)) for group in table.groups], dtype=np.intp)
    means = [table.rewards[groups == group].mean(axis=0) for group in range(len(names))]
    return groups, np.stack(means).astype(np.float32)


def _one_order(delta: float) -> _Drawing:
    """Rewards 0 and 1. Each expert is better than the next in groups of the pair's own."""

    def draw(seed: int) -> _Draw:
        dice = np.random.default_rng(seed)
        means = np.full((NUM_GROUPS, NUM_EXPERTS), 0.5)
        for place in range(NUM_EXPERTS - 1):
            telling = dice.choice(NUM_GROUPS, NUM_TELLING, replace=False)
            means[telling, : place + 1] += GAP / 2
            means[telling, place + 1 :] -= GAP / 2
        means = np.clip(means, 0.0, 1.0)[:, dice.permutation(NUM_EXPERTS)]
        groups = dice.integers(0, NUM_GROUPS, NUM_SIMULATED)
        rewards = (dice.random((NUM_SIMULATED, NUM_EXPERTS)) < means[groups]).astype(np.float32)
        overall = means.mean(axis=0).astype(np.float32)
        return _Draw(Problem(NUM_EXPERTS, groups, delta), rewards, means.astype(np.float32), overall)

    return draw
