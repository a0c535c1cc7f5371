"""Adaptive depth beside one expert: budgets, gains and the table, on answers whose structure is known."""

from dataclasses import replace

import numpy as np
import pytest

from evals.fusion.benchmark import POOLS
from evals.fusion.depth import BUDGETS, ONE, bench_depth, depth_table, measure_depth
from routers.data.outcomes import write_outcomes
from routers.encoders import HashedEncoder
from tests.support.recorded import recorded_answers, recorded_outcomes

ENCODER = HashedEncoder(dimensions=32)
SKILLS = {"good": 0.7, "fair": 0.65, "other": 0.65, "another": 0.65, "weak": 0.4}
TABLE = recorded_answers(SKILLS, n=240, silent=0.1)


@pytest.fixture(scope="module")
def rows():
    return {row.policy: row for row in measure_depth("invented", TABLE, ENCODER, folds=3)}


def adaptive(rows):
    return [rows[f"adaptive, budget {budget}"] for budget in BUDGETS]


def test_every_policy_is_judged_on_every_query(rows):
    assert list(rows) == ["best single", ONE, "retry_unusable", *(row.policy for row in adaptive(rows))]
    assert {(row.data, row.n) for row in rows.values()} == {("invented", len(TABLE))}


def test_plain_policies_make_the_calls_that_they_promise(rows):
    assert rows["best single"].calls == rows[ONE].calls == 1.0
    assert 1.0 < rows["retry_unusable"].calls < 1.3


def test_calls_grow_with_the_budget_and_stay_near_it(rows):
    calls = [row.calls for row in adaptive(rows)]
    assert calls == sorted(calls)
    assert all(mean < budget + 0.3 for mean, budget in zip(calls, BUDGETS, strict=True))


def test_a_gain_is_the_difference_on_the_same_queries(rows):
    for row in rows.values():
        assert row.over_one.mean == pytest.approx(row.accuracy.mean - rows[ONE].accuracy.mean, abs=1e-6)
        assert row.over_one.low <= row.over_one.mean <= row.over_one.high


def test_one_expert_is_what_a_vote_of_one_is(rows):
    one = rows[ONE]
    assert [(gain.low, gain.mean, gain.high) for gain in (one.over_one, one.over_vote)] == [(0.0, 0.0, 0.0)] * 2


def test_the_gate_of_one_call_asks_the_best_single_expert(rows):
    gain = rows["best single"].over_gate
    assert (gain.low, gain.mean, gain.high) == (0.0, 0.0, 0.0)


def test_asking_several_equals_earns_more_than_one(rows):
    assert rows["adaptive, budget 4"].over_one.low > 0
    assert rows["retry_unusable"].over_one.low > 0


def test_nothing_is_gained_where_rewards_are_drawn_by_lot():
    """Routers that had seen the queries they are judged by would earn about 0.58."""
    table = recorded_answers(SKILLS, n=240)
    lots = np.random.default_rng(0).integers(0, 2, table.rewards.shape).astype(np.float32)
    rows = measure_depth("lots", replace(table, rewards=lots), ENCODER, folds=3)
    assert all(row.accuracy.low < 0.5 for row in rows)


def test_a_table_has_a_line_per_policy(rows):
    lines = depth_table(list(rows.values())).splitlines()
    assert lines[0].startswith("**invented**, 240 queries")
    assert lines[2] == "| policy | accuracy | mean calls | over one expert | over the vote | over the gate |"
    assert [line.split(" | ")[0][2:] for line in lines[4:]] == list(rows)
    deepest = adaptive(rows)[-1]
    assert f"| {100 * deepest.accuracy.mean:.1f} (" in lines[-1]
    assert f"| {deepest.calls:.2f} | +" in lines[-1]


def test_the_data_that_is_there_is_measured_for_its_pool(tmp_path):
    skills = dict.fromkeys([*POOLS["mmlupro10"], "another"], 0.5)
    write_outcomes(tmp_path / "mmlupro28-dev.jsonl.gz", recorded_outcomes(skills, n=60))
    assert {row.data for row in bench_depth(tmp_path, ENCODER)} == {"mmlupro10"}


def test_answers_with_gaps_are_refused():
    tried = TABLE.tried.copy()
    tried[0, 0] = False
    with pytest.raises(ValueError, match="not every expert was tried on every query"):
        measure_depth("gaps", replace(TABLE, tried=tried), ENCODER)
