"""Attacks on outcomes: what training or serving looks like when a judge is gamed, an expert breaks, or feedback is wrong or rare.

    hit = attacked(protocol, "broken_expert", seed=0)     # measured like any other
    for held in held_up(sweep.rows): ...                  # what each router still gains over the best single expert of before

An attack changes rewards, queries or experts of the training or the test part; test queries keep their number and order. The same
seed gives the same attack. Attackers know nothing of the router. Not here: sweeps, noise (`evals/metrics/noise.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from evals.metrics.noise import NOISES
from evals.protocols import Protocol
from evals.sweeps.baselines import BEST_SINGLE
from evals.sweeps.nouns import Row
from routers.base import FloatArray
from routers.data.table import RewardTable
from routers.training.evaluation import Interval, bootstrap, paired

GAMER = "constant-answer"
COPIES = 20
KEPT_SHARE = 0.1
FLIPPED_SHARE = 0.2
GAMED_SHARE = 0.3
PRAISE = 5.0
"""How many times likelier a reward of 1 is told than one of 0, where feedback is rare."""

Attack = Callable[[RewardTable, RewardTable, np.random.Generator], tuple[RewardTable, RewardTable]]
"""Of the training and the test part, which have the same experts."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """what: a line for reports."""

    what: str
    attack: Attack


def attacked(protocol: Protocol, name: str, seed: int = 0) -> Protocol:
    """The protocol with every split attacked, each in its own way. Raises ValueError for an unknown scenario."""
    if name not in SCENARIOS:
        raise ValueError(f"unknown scenario '{name}', expected one of {', '.join(SCENARIOS)}")
    splits = [
        SCENARIOS[name].attack(train, test, np.random.default_rng([seed, number]))
        for number, (train, test) in enumerate(protocol.splits)
    ]
    return replace(protocol, splits=tuple(splits))


def _gamed_judge(share: float) -> Attack:
    """Null models that always say the same top judged benchmarks (Zheng et al. 2024, arXiv 2410.07137)."""

    def attack(train: RewardTable, test: RewardTable, dice: np.random.Generator) -> tuple[RewardTable, RewardTable]:
        # The longest queries, so that there is something to learn: a judge gamed at random fools nobody for long.
        lengths = np.array([len(query) for query in train.queries])
        gamed = np.zeros(len(train), dtype=np.float32)
        gamed[np.argsort(-lengths, kind="stable")[: round(share * len(train))]] = 1.0
        return _with_gamer(train, gamed), _with_gamer(test, np.zeros(len(test), dtype=np.float32))

    return attack


def _broken_expert(train: RewardTable, test: RewardTable, dice: np.random.Generator) -> tuple[RewardTable, RewardTable]:
    return train, _with_rewards_of(test, int(train.means.argmax()), np.zeros(len(test), dtype=np.float32))


def _changed_expert(
    train: RewardTable, test: RewardTable, dice: np.random.Generator
) -> tuple[RewardTable, RewardTable]:
    weakest = int(train.means.argmin())
    rewards = np.where(test.tried[:, weakest], test.rewards[:, weakest], train.means[weakest])
    return train, _with_rewards_of(test, int(train.means.argmax()), rewards)


def _duplicated(train: RewardTable, test: RewardTable, dice: np.random.Generator) -> tuple[RewardTable, RewardTable]:
    """One group, or without groups a tenth of the queries. Every other copy is nearly the same."""
    names = sorted({group for group in train.groups if group is not None})
    if names:
        group = names[dice.integers(len(names))]
        chosen = np.flatnonzero(np.array(train.groups, dtype=object) == group)
    else:
        chosen = np.flatnonzero(dice.random(len(train)) < 0.1)
    copies = train.rows(np.tile(chosen, COPIES - 1))
    noise = NOISES["typos"]
    queries = [noise(query, i) if i // len(chosen) % 2 else query for i, query in enumerate(copies.queries)]
    return RewardTable.joined([train, replace(copies, queries=tuple(queries))]), test


def _reworded(train: RewardTable, test: RewardTable, dice: np.random.Generator) -> tuple[RewardTable, RewardTable]:
    """Each test query by one kind of noise."""
    seeds, kinds = dice.integers(2**31, size=len(test)), dice.choice(sorted(NOISES), size=len(test))
    queries = [NOISES[kind](query, int(seed)) for query, kind, seed in zip(test.queries, kinds, seeds, strict=True)]
    return train, replace(test, queries=tuple(queries))


def _rare_feedback(train: RewardTable, test: RewardTable, dice: np.random.Generator) -> tuple[RewardTable, RewardTable]:
    """Missing not at random (Rubin 1976): what pleases is told more often, and nothing in the table says so."""
    told = 1.0 + (PRAISE - 1.0) * np.nan_to_num(train.rewards)
    told *= KEPT_SHARE / told[train.tried].mean()
    kept = train.tried & (dice.random(told.shape) < told)
    sparse = replace(train, rewards=np.where(kept, train.rewards, np.nan), costs=np.where(kept, train.costs, np.nan))
    return sparse.rows(np.flatnonzero(kept.any(axis=1))), test


def _label_noise(train: RewardTable, test: RewardTable, dice: np.random.Generator) -> tuple[RewardTable, RewardTable]:
    """Random classification noise (Angluin and Laird 1988)."""
    flipped = dice.random(train.rewards.shape) < FLIPPED_SHARE
    return replace(train, rewards=np.where(flipped, 1.0 - train.rewards, train.rewards)), test


SCENARIOS: Mapping[str, Scenario] = {
    "gamed_judge": Scenario(
        "an expert that always says the same has reward 1 on all training queries and 0 afterwards", _gamed_judge(1.0)
    ),
    "gamed_judge_in_part": Scenario(
        f"the same on the {GAMED_SHARE:.0%} longest training queries, and 0 on the others", _gamed_judge(GAMED_SHARE)
    ),
    "broken_expert": Scenario("the expert that was best in training earns 0 afterwards", _broken_expert),
    "changed_expert": Scenario(
        "the expert that was best in training earns what the weakest one does afterwards", _changed_expert
    ),
    "duplicated": Scenario(f"the training queries of one group are there {COPIES} times, or nearly so", _duplicated),
    "reworded": Scenario("the test queries are reworded by rule", _reworded),
    "rare_feedback": Scenario(
        f"{KEPT_SHARE:.0%} of the training rewards are known, good ones {PRAISE:g} times likelier than bad",
        _rare_feedback,
    ),
    "label_noise": Scenario(f"{FLIPPED_SHARE:.0%} of the training rewards are turned round", _label_noise),
}


def _with_gamer(table: RewardTable, rewards: FloatArray) -> RewardTable:
    """With one more expert, whose answers cost nothing where costs are known."""
    cost = np.where(np.isnan(table.costs).all(axis=1), np.nan, 0.0)
    return replace(
        table,
        experts=(*table.experts, GAMER),
        rewards=np.column_stack([table.rewards, rewards]).astype(np.float32),
        costs=np.column_stack([table.costs, cost]).astype(np.float32),
        weights=np.column_stack([table.weights, np.ones(len(table))]).astype(np.float32),
    )


def _with_rewards_of(table: RewardTable, expert: int, rewards: FloatArray) -> RewardTable:
    """With these rewards `(n_queries,)` for one expert, where it was tried."""
    changed = table.rewards.copy()
    changed[:, expert] = np.where(table.tried[:, expert], rewards, np.nan)
    return replace(table, rewards=changed)


@dataclass(frozen=True, slots=True)
class HeldUp:
    """How a router holds up against an attack, at lambda 0, as the mean over seeds.

    plain, attacked: its gain over the best single expert of the data as they were, before and under the attack. change: of that
    gain. Both are paired by query unless `is_paired` is False: then the queries are not the same ones, and the interval is that
    of two independent means. Intervals of several seeds are averaged, which is too wide rather than too narrow.
    """

    data: str
    fleet: str
    scenario: str
    router: str
    plain: float
    attacked: float
    change: Interval
    is_paired: bool


def held_up(rows: Sequence[Row]) -> tuple[HeldUp, ...]:
    """Of rows with and without attacks: those under one whose data, fleet, router and seed are there without it, too."""
    told = [row for row in rows if row.earned]
    known = {(row.data, row.fleet, row.router, row.seed): row for row in told if not row.scenario}
    found: dict[tuple[str, str, str, str], list[tuple[Row, Row, Row]]] = {}
    for row in told:
        before = known.get((row.data, row.fleet, row.router, row.seed))
        single = known.get((row.data, row.fleet, BEST_SINGLE, row.seed))
        if row.scenario and before is not None and single is not None:
            found.setdefault((row.data, row.fleet, row.scenario, row.router), []).append((before, row, single))
    return tuple(_held_up(key, rows) for key, rows in found.items())


def _held_up(key: tuple[str, str, str, str], rows: Sequence[tuple[Row, Row, Row]]) -> HeldUp:
    """rows: of each seed, the router before, under attack, and the best single expert before."""
    changes = [_change(before, after) for before, after, _ in rows]
    return HeldUp(
        *key,
        plain=fmean(fmean(before.earned) - fmean(single.earned) for before, _, single in rows),
        attacked=fmean(fmean(after.earned) - fmean(single.earned) for _, after, single in rows),
        change=Interval(*(fmean(getattr(change, end) for change in changes) for end in ("mean", "low", "high"))),
        is_paired=all(_are_same(before, after) for before, after, _ in rows),
    )


def _are_same(before: Row, after: Row) -> bool:
    """Whether they were measured on the same queries."""
    return before.queries == after.queries and len(before.earned) == len(after.earned)


def _change(before: Row, after: Row) -> Interval:
    first, second = (np.array(row.earned, dtype=np.float32) for row in (before, after))
    if _are_same(before, after):
        return paired(second, first)
    ends = [bootstrap(values) for values in (first, second)]
    mean = ends[1].mean - ends[0].mean
    below, above = ends[1].mean - ends[1].low, ends[1].high - ends[1].mean
    return Interval(
        mean,
        mean - float(np.hypot(below, ends[0].high - ends[0].mean)),
        mean + float(np.hypot(above, ends[0].mean - ends[0].low)),
    )
