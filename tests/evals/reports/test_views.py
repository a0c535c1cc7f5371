"""What is shown of a sweep, by numbers worked out by other means."""

import base64
from dataclasses import replace

import numpy as np
import pytest

from evals.reports.averages import Case, averaged
from evals.reports.embedding import embed
from evals.reports.extremes import extremes, shortened
from evals.reports.frontiers import frontier, reliability
from evals.reports.groups import gains_by_group, rewards_by_group
from evals.reports.views import MOST, view
from evals.sweeps.nouns import Run, Setting, Sweep
from evals.sweeps.summary import summary
from tests.support.sweeps import EXPERTS, GROUPS, HOSTILE, LAMBDAS, PRICES, N, sweep

SWEEP = sweep()
PAID, FREE = Case("paid", "all"), Case("free", "all")
FIRST = SWEEP.tested[Setting("paid")]


def unpacked(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype=dtype).reshape(-1, len(EXPERTS))


def test_a_frontier_has_a_point_for_each_lambda_and_expert():
    found = frontier(SWEEP, averaged(SWEEP, summary(SWEEP.rows)), PAID)
    assert {point.lambda_ for point in found.curves["sharp"]} == set(LAMBDAS)
    assert [point.name for point in found.experts] == list(EXPERTS)
    assert [point.cost for point in found.experts] == pytest.approx(FIRST.table.costs.mean(axis=0), rel=1e-5)
    assert [point.reward.mean for point in found.experts] == pytest.approx(FIRST.table.rewards.mean(axis=0), abs=1e-6)
    assert [point.cost for point in found.curves["noisy"]] == sorted(point.cost for point in found.curves["noisy"])


def test_costs_of_very_different_size_want_a_log_axis():
    found = frontier(SWEEP, averaged(SWEEP, summary(SWEEP.rows)), PAID)
    assert found.is_wide == (max(PRICES) / min(PRICES) > 20)
    assert [point.name for point in found.best_experts] == ["chatter", "mathematician", "large"]
    free = replace(found, experts=(replace(found.experts[0], cost=0.0),))
    assert not free.is_wide


def test_there_is_no_frontier_without_costs():
    assert frontier(SWEEP, averaged(SWEEP, summary(SWEEP.rows)), FREE) is None


def test_reliability_is_earned_over_expected_in_bins():
    expected, earned = [], []
    for seed in (0, 1, 2):
        key = Setting("paid", seed=seed)
        expected.append(SWEEP.runs[key, "sharp"].predicted.ravel())
        earned.append(SWEEP.tested[key].table.rewards.ravel())
    expected, earned = np.concatenate(expected), np.concatenate(earned)
    found = reliability(SWEEP, PAID, "sharp")
    inside = (expected >= 0.8) & (expected < 0.9)
    at = next(i for i, value in enumerate(found.expected) if 0.8 <= value < 0.9)
    assert found.n[at] == inside.sum()
    assert found.expected[at] == pytest.approx(expected[inside].mean(), abs=1e-6)
    assert found.earned[at] == pytest.approx(earned[inside].mean(), abs=1e-6)
    assert sum(found.n) == 3 * N * len(EXPERTS)


def test_a_baseline_has_no_reliability():
    assert reliability(SWEEP, PAID, "random") is None


def test_gains_by_group_average_to_the_gain():
    found = gains_by_group(SWEEP, PAID, ["sharp", "constant"])
    assert set(found.groups) == set(GROUPS)
    assert found.columns == ("sharp", "constant", "group_best")
    assert found.values[:, 1].tolist() == [0, 0, 0]
    gain = np.mean([row.gain for row in SWEEP.rows if (row.data, row.router, row.lambda_) == ("paid", "sharp", 0.0)])
    assert np.average(found.values[:, 0], weights=found.sizes) == pytest.approx(gain, abs=1e-6)


def test_rewards_by_group_are_those_of_the_experts():
    found = rewards_by_group(SWEEP, PAID)
    row, column = found.groups.index("chat"), found.columns.index("chatter")
    assert found.values[row, column] == pytest.approx(FIRST.table.rewards[1::3, 1].mean(), abs=1e-6)


def test_small_groups_stand_together():
    names = tuple(f"group {i // 2 if i < 100 else 50 + i}" for i in range(N))
    table = replace(FIRST.table, groups=names)
    found = rewards_by_group(replace(SWEEP, tested={FIRST.setting: replace(FIRST, table=table)}), PAID)
    assert len(found.groups) == 20
    assert found.groups[-1] == "171 other groups"
    assert sum(found.sizes) == N


def test_one_group_is_no_heat_map():
    table = replace(FIRST.table, groups=(None,) * N)
    assert rewards_by_group(replace(SWEEP, tested={FIRST.setting: replace(FIRST, table=table)}), PAID) is None


def test_extremes_are_the_surest_gains_and_losses():
    predicted = np.full((N, 4), 0.5, dtype=np.float32)
    predicted[5, 0], predicted[8, 0], predicted[11, 0] = 0.9, 0.8, 0.7
    rewards = FIRST.table.rewards.copy()
    rewards[[5, 8, 11], 0], rewards[[5, 8, 11], 3] = [1, 1, 0], [0, 0, 1]
    predicted[:, 3] = 0.6
    found = extremes(replace(FIRST, table=replace(FIRST.table, rewards=rewards)), Run("r", predicted, 1.0, 1.0))
    assert [example.query for example in found.best] == [FIRST.table.queries[5], FIRST.table.queries[8]]
    assert (found.best[0].chosen, found.best[0].reward, found.best[0].single_reward) == ("coder", 1.0, 0.0)
    assert [example.query for example in found.worst] == [FIRST.table.queries[11]]


def test_a_long_query_keeps_its_beginning_and_its_end():
    text = shortened("begin " + "x" * 900 + " end?")
    assert text.startswith("begin") and text.endswith("end?")
    assert len(text) <= 361
    assert shortened("as\n it   is") == "as it is"


def test_embedded_expectations_choose_as_the_router_does():
    run = SWEEP.runs[FIRST.setting, "blurred"]
    found = embed(FIRST, {"blurred": run}, sample=100)
    assert (found.n, found.num_queries) == (100, N)
    every = embed(FIRST, {"blurred": run})
    predicted = unpacked(every.predicted["blurred"], "<u2") / 65535
    assert (predicted.argmax(axis=1) == run.predicted.argmax(axis=1)).all()
    assert np.abs(predicted - run.predicted).max() < 1e-5
    assert unpacked(every.rewards, "u1").tolist() == (FIRST.table.rewards * 254).tolist()
    assert unpacked(every.cents, "<f4")[0] == pytest.approx(FIRST.table.costs[0] * 100)


def test_an_answer_that_was_not_tried_is_embedded_as_such():
    rewards = FIRST.table.rewards.copy()
    rewards[3, 2] = np.nan
    found = embed(replace(FIRST, table=replace(FIRST.table, rewards=rewards)), {})
    assert unpacked(found.rewards, "u1")[3, 2] == 255


def test_costs_that_nobody_knows_are_not_embedded():
    assert embed(SWEEP.tested[Setting("free")], {}).cents is None


def test_a_view_has_all_parts():
    report = view(SWEEP)
    paid, free = report.cases
    assert paid.routers == ("sharp", "blurred", "constant", "noisy")
    assert paid.lines[0].router == "oracle"
    assert (paid.measured.num_folds, paid.measured.num_leaked, paid.measured.seeds) == (2, 2.0, (0, 1, 2))
    assert (paid.frontier is None, free.frontier is None) == (False, True)
    assert len(paid.reliabilities) == 4
    assert len(paid.embedded.predicted) == min(MOST, 4)
    assert [one.router for one in report.routers] == list(paid.routers)
    assert set(report.routers[0].examples) == {PAID, FREE}
    assert any(HOSTILE in query for query in FIRST.table.queries)


def test_data_under_attack_are_cases_of_their_own_and_count_for_nothing_else():
    plain, hit = view(SWEEP), view(sweep(attacks=("broken_expert",)))
    assert [one.case.title for one in hit.cases] == [
        "paid",
        "free",
        "paid under broken_expert",
        "free under broken_expert",
    ]
    assert hit.headline == plain.headline
    assert [one.router for one in hit.routers] == [one.router for one in plain.routers]
    assert hit.cases[2].lines != plain.cases[0].lines


def test_a_sweep_without_rows_is_an_empty_report():
    report = view(Sweep((0.0,), {}, {}, ()))
    assert report.cases == report.routers == ()
