"""Intervals hold the truth as often as they say, and a router that is no better is hardly ever promoted."""

import numpy as np
import pytest

from evals.offpolicy.simulation import WORSE_BY, draw, simulate, worlds


def test_a_world_knows_what_its_candidates_earn():
    for world in worlds():
        assert world.propensities.sum(axis=1) == pytest.approx(np.ones(len(world.chances)))
        gains = {name: world.value(choice) - world.live for name, choice in world.candidates.items()}
        assert gains == pytest.approx({"better": gains["better"], "equal": 0.0, "worse": -WORSE_BY}, abs=5e-5)
        assert gains["better"] > 0.01


def test_a_log_is_drawn_with_the_worlds_propensities_and_chances():
    world = next(worlds())
    log, queries = draw(world, 20_000, np.random.default_rng(0))
    expected = world.propensities[queries].mean(axis=0)
    assert np.bincount(log.actions) / len(log) == pytest.approx(expected, abs=0.01)
    assert log.rewards.mean() == pytest.approx(world.live, abs=0.01)


def test_it_runs_small():
    rows = list(simulate(num_logs=3, num_decisions=200))
    assert len(rows) == 3 * (3 + 4)
    assert {row.logs for row in rows} == {3}


@pytest.mark.slow
def test_95_of_100_intervals_hold_the_truth_and_5_of_100_promotions_are_wrong_at_most():
    for row in simulate(num_logs=500, num_decisions=20_000):
        assert 0.93 <= row.coverage <= 0.97, row
        if row.candidate != "better":
            assert row.promoted is not None
            assert row.promoted <= 0.05, row
        elif row.expected is not None:
            assert row.promoted == pytest.approx(row.expected, abs=0.06), row
