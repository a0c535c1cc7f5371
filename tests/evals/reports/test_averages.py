"""Rows become lines: means over seeds, exact where rewards are told by query."""

from dataclasses import replace

import numpy as np
import pytest

from evals.metrics.significance import holm, p_value
from evals.reports.averages import Case, averaged, by_reward_alone, cases, ranked
from evals.sweeps.summary import summary
from routers.training.evaluation import bootstrap
from tests.support.sweeps import LAMBDAS, ROUTERS, sweep

SWEEP = sweep()
LINES = averaged(SWEEP, summary(SWEEP.rows))


def line(router, data="paid", lambda_=0.0):
    return next(one for one in LINES if (one.router, one.case.data, one.lambda_) == (router, data, lambda_))


def rows(router, data="paid", lambda_=0.0):
    return [row for row in SWEEP.rows if (row.router, row.data, row.lambda_) == (router, data, lambda_)]


def test_a_line_is_the_mean_over_seeds():
    found, seeds = line("blurred", lambda_=0.5), rows("blurred", lambda_=0.5)
    assert found.num_seeds == len(seeds) == 3
    assert found.reward.mean == pytest.approx(np.mean([row.reward for row in seeds]))
    assert found.gain.low == pytest.approx(np.mean([row.gain_ci95[0] for row in seeds]))
    assert found.values["cost"] == pytest.approx(np.mean([row.cost for row in seeds]))
    assert found.share["large"] == pytest.approx(np.mean([row.share["large"] for row in seeds]))


def test_the_gain_by_reward_alone_is_averaged_by_query_first():
    earned = np.mean([row.earned for row in rows("sharp")], axis=0)
    usual = np.mean([row.earned for row in rows("best_single")], axis=0)
    expected = bootstrap((earned - usual).astype(np.float32))
    assert line("sharp").gain.mean == pytest.approx(expected.mean, abs=1e-6)
    assert line("sharp").gain.low == pytest.approx(expected.low, abs=1e-6)


def test_p_values_are_adjusted_for_the_routers_of_the_case():
    usual = np.mean([row.earned for row in rows("best_single")], axis=0)
    chances = []
    for router in ROUTERS:
        difference = np.mean([row.earned for row in rows(router)], axis=0) - usual
        chances.append(p_value(difference.astype(np.float32)) if difference.any() else 1.0)
    assert [line(router).values["p_adjusted"] for router in ROUTERS] == pytest.approx(list(holm(chances)), abs=1e-6)
    assert line("random").values["p_adjusted"] is None


def test_a_p_value_of_several_seeds_is_twice_their_mean():
    """Which is one whatever they have to do with each other; the mean itself is none."""
    adjusted = [row.p_adjusted for row in rows("sharp", lambda_=0.5)]
    assert line("sharp", lambda_=0.5).values["p_adjusted"] == pytest.approx(min(1.0, 2 * np.mean(adjusted)))
    one = sweep(seeds=(0,))
    (single,) = [one for one in averaged(one, []) if (one.router, one.case.data, one.lambda_) == ("sharp", "paid", 0.5)]
    assert single.values["p_adjusted"] == adjusted[0]


def test_a_metric_that_one_seed_lacks_has_no_mean():
    without = [replace(row, aiq=None) if row.seed == 1 else row for row in SWEEP.rows]
    found = averaged(replace(SWEEP, rows=tuple(without)), [])[0]
    assert (found.values["aiq"], found.values["hypervolume"]) == (None, 0.6)


def test_data_under_attack_come_last_and_are_ranked_nowhere():
    hit = sweep(attacks=("broken_expert",))
    lines = averaged(hit, summary(hit.rows))
    assert [case.scenario for case in cases(lines)] == ["", "", "broken_expert", "broken_expert"]
    assert lines[: len(LINES)] == LINES
    assert ranked(lines) == ranked(LINES)
    assert ranked([one for one in lines if one.case.scenario]) == ()


def test_what_has_no_run_is_a_baseline_and_the_oracle_a_bound():
    kinds = {one.router: one.kind for one in LINES}
    assert kinds["sharp"] == "router"
    assert kinds["random"] == "baseline"
    assert kinds["oracle"] == "bound"


def test_a_metric_that_applies_nowhere_stays_empty():
    assert line("sharp", "free").values["cost"] is None


def test_cases_and_lines_by_reward_alone():
    assert cases(LINES) == (Case("paid", "all"), Case("free", "all"))
    assert len(LINES) == (len(LAMBDAS) + 1) * 9
    assert len(by_reward_alone(LINES)) == 2 * 9


def test_routers_are_ranked_by_mean_gain_and_baselines_left_out():
    assert ranked(LINES) == ("sharp", "blurred", "constant", "noisy")


def test_a_router_that_ran_in_fewer_cases_comes_later():
    fewer = [one for one in LINES if (one.router, one.case.data) != ("sharp", "free")]
    assert ranked(fewer)[-1] == "sharp"


def test_a_case_is_named_after_its_fleet_unless_that_is_all():
    assert Case("routerbench", "all").title == "routerbench"
    assert Case("routerbench", "small ones").title == "routerbench with small ones"
    assert Case("routerbench", "small ones", "reworded").title == "routerbench with small ones under reworded"
    assert Case("routerbench", "small ones", "reworded").label == "routerbench under reworded"
    assert Case("a/b: c+d", "all").slug == "a-b-c-d"
