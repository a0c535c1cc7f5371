"""When a router counts as worse than in an earlier sweep."""

from dataclasses import replace

import numpy as np
import pytest

from evals.sweeps.gate import changes, lost
from evals.sweeps.nouns import Row

DICE = np.random.default_rng(0)
BEFORE = (DICE.random(400) < 0.6).astype(float)


def row(earned, router="auto", queries="same", **other):
    half = 1.96 * float(np.std(earned)) / len(earned) ** 0.5
    mean = float(np.mean(earned))
    told = {
        "data": "mine",
        "fleet": "all",
        "router": router,
        "lambda_": 0.0,
        "seed": 0,
        "n": len(earned),
        "reward": mean,
        "ci95": (mean - half, mean + half),
        "gain": 0.0,
        "gain_ci95": (0.0, 0.0),
        "gain_at_random": None,
        "gain_at_best": None,
        "gap_at_oracle": None,
        "shuffled": 0.5,
        "cost": None,
        "cost_unit": "usd",
        "entropy": 0.0,
        "largest_share": 1.0,
        "queries": queries,
        "earned": tuple(earned),
    }
    return Row(**{**told, **other})


def worse(earned, share, seed=1):
    """The same but for a share of the right answers, which are wrong now."""
    lost = np.random.default_rng(seed).random(len(earned)) < share
    return np.where(lost, 0.0, earned)


def test_the_same_rewards_are_no_change():
    (change,) = changes([row(BEFORE)], [row(BEFORE)])
    assert change.difference == 0.0 and not change.is_worse


def test_a_clear_loss_on_the_same_queries_is_found():
    (change,) = changes([row(worse(BEFORE, 0.05))], [row(BEFORE)])
    assert change.is_paired and change.is_worse and -0.06 < change.difference < 0.0


def test_a_gain_is_never_worse():
    (change,) = changes([row(BEFORE)], [row(worse(BEFORE, 0.2))])
    assert change.difference > 0.0 and not change.is_worse


def test_other_queries_are_compared_by_their_intervals_which_finds_less():
    now = worse(BEFORE, 0.05)
    (change,) = changes([row(now, queries="others")], [row(BEFORE)])
    assert not change.is_paired and not change.is_worse
    (change,) = changes([row(worse(BEFORE, 0.5), queries="others")], [row(BEFORE)])
    assert change.is_worse


def test_many_routers_that_did_not_change_raise_no_alarm():
    """Each differs by luck alone: two draws of the same chance."""
    alarms = 0
    for attempt in range(40):
        dice = np.random.default_rng(attempt)
        old, new = ([row((dice.random(300) < 0.6).astype(float), f"r{i}") for i in range(20)] for _ in range(2))
        alarms += any(change.is_worse for change in changes(new, old))
    assert alarms <= 5


def test_what_only_one_sweep_knows_is_not_compared():
    assert changes([row(BEFORE, "new")], [row(BEFORE, "old")]) == []
    assert changes([row(BEFORE)], [replace(row(BEFORE), data="other")]) == []


@pytest.mark.parametrize("share", [0.02, 0.2])
def test_seeds_are_averaged_by_query(share):
    old = [replace(row(BEFORE), seed=seed) for seed in range(3)]
    new = [replace(row(worse(BEFORE, share, seed)), seed=seed) for seed in range(3)]
    (change,) = changes(new, old)
    assert change.difference == pytest.approx(np.mean([n.reward for n in new]) - BEFORE.mean())


def test_a_router_that_gives_nothing_any_more_is_named():
    assert lost([row(BEFORE, "new")], [row(BEFORE, "old"), row(BEFORE, "new")], ("old", "new"))[0][1] == "old"
    assert lost([row(BEFORE, "new")], [row(BEFORE, "old")], ("new",)) == [], "it was not asked for"
