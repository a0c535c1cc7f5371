"""A sweep over small outcome files: what is measured, resumed, and left on disk."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from evals.sweeps.datasets import DataSet, file_data_sets
from evals.sweeps.nouns import Setting
from evals.sweeps.running import SweepPlan, run_sweep
from evals.sweeps.storing import read_rows, read_sweep, row_json
from evals.sweeps.summary import POOLED, summary
from routers.base import Outcome
from routers.data.outcomes import write_outcomes
from tests.support.outcomes import specialists

FEATURES = "hashed:256"


def priced(**columns):
    """The specialists, with costs in USD: the poet costs ten times as much."""
    return specialists(costs={"calculator": 0.0001, "poet": 0.001}, **columns)


@pytest.fixture
def data(tmp_path):
    write_outcomes(tmp_path / "mine.jsonl", priced())
    return file_data_sets([tmp_path / "mine.jsonl"], folds=3)


def sweep(data, folder, routers=("linear",), **settings):
    return run_sweep(SweepPlan(data=data, routers=routers, features=FEATURES, **settings), folder)


def row_of(found, router, lambda_=0.0, seed=0):
    (row,) = [row for row in found.rows if (row.router, row.lambda_, row.seed) == (router, lambda_, seed)]
    return row


def test_a_router_that_learned_the_specialists_beats_the_best_single_one(data, tmp_path):
    found = sweep(data, tmp_path / "out")
    row = row_of(found, "linear")
    assert row.reward == pytest.approx(0.9, abs=0.02)
    assert row.gain_ci95[0] > 0.2
    assert row.p_adjusted < 1e-6
    assert row_of(found, "oracle").reward == pytest.approx(0.9)
    assert row_of(found, "best_single").gain == 0.0
    assert row_of(found, "group_best").reward == pytest.approx(0.9)
    assert row.shuffled < row.reward - 0.1


def test_every_query_is_tested_once_by_a_router_that_has_not_seen_it(data, tmp_path):
    found = sweep(data, tmp_path / "out")
    (tested,) = found.tested.values()
    assert sorted(tested.table.queries) == sorted(outcome.query for outcome in specialists())
    assert set(tested.fold) == {0, 1, 2}


def test_lambda_buys_cheaper_experts(data, tmp_path):
    found = sweep(data, tmp_path / "out", lambdas=(0.0, 100.0))
    free, dear = row_of(found, "linear"), row_of(found, "linear", 100.0)
    assert dear.share == {"calculator": 1.0}
    assert dear.cost == pytest.approx(0.0001, rel=1e-3)
    assert dear.cost < free.cost
    assert 0.0 < free.aiq <= 1.0
    assert row_of(found, "cheapest").cost == pytest.approx(0.0001, rel=1e-3)


def test_costs_in_another_unit_have_no_lambda_until_they_are_priced(tmp_path):
    write_outcomes(tmp_path / "mine.jsonl", priced(cost_unit="tokens"))
    data = file_data_sets([tmp_path / "mine.jsonl"], folds=3)
    unpriced = sweep(data, tmp_path / "a")
    with pytest.raises(ValueError, match="costs are in tokens, so a lambda needs --usd-per-unit"):
        sweep(data, tmp_path / "b", lambdas=(0.0, 1.0))
    assert {row.lambda_ for row in unpriced.rows} == {0.0}
    row = row_of(unpriced, "linear")
    assert row.cost_unit == "tokens" and row.aiq is not None and row.arena is None
    told = sweep(data, tmp_path / "b", lambdas=(0.0, 1.0), usd_per_unit=1.0)
    assert {row.lambda_ for row in told.rows} == {0.0, 1.0}


def test_metrics_of_weak_and_strong_are_for_two_experts(data, tmp_path):
    assert row_of(sweep(data, tmp_path / "two"), "linear").apgr is not None
    third = [Outcome(o.query, {**o.rewards, "third": 0.1}, group=o.group) for o in specialists()]
    write_outcomes(tmp_path / "three.jsonl", third)
    data = file_data_sets([tmp_path / "three.jsonl"], folds=3)
    assert row_of(sweep(data, tmp_path / "three"), "linear").apgr is None


def test_a_sweep_goes_on_where_it_stopped(data, tmp_path):
    out = tmp_path / "out"
    before = sweep(data, out)
    (key,) = [path.stem for path in (out / "settings").glob("*.npz")]
    kept = out / "settings" / key / "linear.npz"
    stamp = kept.stat().st_mtime_ns
    after = sweep(data, out, routers=("linear", "knn"), seeds=2)
    assert kept.stat().st_mtime_ns == stamp, "it was not fitted again"
    assert {router for _, router in after.runs} == {"linear", "knn"}
    assert {row.seed for row in after.rows} == {0, 1}
    assert row_of(after, "linear").reward == row_of(before, "linear").reward


def test_a_first_run_that_was_interrupted_goes_on_where_it_stopped(data, tmp_path):
    def interrupt(stage, done, total):
        if (stage, done) == ("fitting routers", 1):
            raise KeyboardInterrupt

    plan = SweepPlan(data=data, routers=("linear", "knn"), features=FEATURES)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(plan, tmp_path / "out", progress=interrupt)
    (kept,) = (tmp_path / "out").glob("settings/*/*.npz")
    stamp = kept.stat().st_mtime_ns
    assert {router for _, router in run_sweep(plan, tmp_path / "out").runs} == {"linear", "knn"}
    assert kept.stat().st_mtime_ns == stamp


def test_changed_data_are_measured_anew(data, tmp_path):
    out = tmp_path / "out"
    sweep(data, out)
    write_outcomes(tmp_path / "mine.jsonl", priced()[:120])
    assert row_of(sweep(data, out), "linear").n == 120


def test_seeds_deal_the_same_queries_into_other_folds(data, tmp_path):
    found = sweep(data, tmp_path / "out", seeds=2)
    assert len({row.queries for row in found.rows}) == 1
    first, second = (found.tested[Setting("mine", seed=seed)] for seed in (0, 1))
    assert first.table.queries != second.table.queries
    assert sorted(first.table.queries) == sorted(second.table.queries)


def test_choices_that_flip_when_a_query_is_put_in_other_words_are_counted(data, tmp_path):
    sums = [outcome.query for outcome in specialists() if outcome.group == "sums"][:20]
    flipped = [{"query": query, "paraphrase": f"Tell me a poem about winter and {i}"} for i, query in enumerate(sums)]
    kept = [{"query": query, "paraphrase": query.replace("What is", "Say what is")} for query in sums]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (*flipped[:10], *kept[10:])))
    found = sweep(data, tmp_path / "out", paraphrases=tmp_path / "p.jsonl")
    assert row_of(found, "linear").paraphrase_flip_rate == 0.5
    assert row_of(sweep(data, tmp_path / "plain"), "linear").paraphrase_flip_rate is None


def test_a_fleet_is_a_choice_of_experts(data, tmp_path):
    outcomes = [Outcome(o.query, {**o.rewards, "third": 1.0}, group=o.group) for o in specialists()]
    write_outcomes(tmp_path / "three.jsonl", outcomes)
    found = sweep(
        file_data_sets([tmp_path / "three.jsonl"], folds=3),
        tmp_path / "out",
        fleets={"small": ("calculator", "poet")},
    )
    (tested,) = found.tested.values()
    assert tested.table.experts == ("calculator", "poet")
    assert {row.fleet for row in found.rows} == {"small"}


def test_an_attack_is_a_data_set_of_its_own(data, tmp_path):
    found = sweep([*data, DataSet("mine", data[0].files, folds=3, scenario="broken_expert")], tmp_path / "out")
    assert {(row.data, row.scenario) for row in found.rows} == {("mine", ""), ("mine", "broken_expert")}
    assert all(not line.setting.scenario for line in summary(found.rows) if line.setting.data == POOLED)


def test_results_are_a_parquet_file_and_a_sweep_can_be_read_again(data, tmp_path):
    out = tmp_path / "out"
    found = sweep(data, out, lambdas=(0.0, 1.0))
    assert [row_json(row) for row in read_rows(out / "results.parquet")] == [row_json(row) for row in found.rows]
    again = read_sweep(out)
    assert [row.earned for row in again.rows] == [row.earned for row in found.rows]
    assert again.lambdas == (0.0, 1.0)
    setting = Setting("mine")
    np.testing.assert_array_equal(again.tested[setting].cents, found.tested[setting].cents)
    np.testing.assert_array_equal(again.runs[setting, "linear"].predicted, found.runs[setting, "linear"].predicted)


def test_several_processes_find_what_one_does(data, tmp_path):
    plan = SweepPlan(data=data, routers=("linear", "knn"), features=FEATURES)
    one, two = (run_sweep(plan, tmp_path / str(workers), workers=workers) for workers in (1, 2))
    assert [(row.router, row.reward, row.gain) for row in one.rows] == [(r.router, r.reward, r.gain) for r in two.rows]


@pytest.mark.slow
def test_a_cluster_finds_what_one_process_does(data, tmp_path):
    pytest.importorskip("ray")
    plan = SweepPlan(data=data, routers=("linear", "knn"), features=FEATURES)
    one, other = run_sweep(plan, tmp_path / "local"), run_sweep(plan, tmp_path / "ray", engine="ray")
    assert [(row.router, row.reward) for row in one.rows] == [(row.router, row.reward) for row in other.rows]


def test_a_router_that_cannot_be_fitted_costs_no_other_anything(tmp_path):
    outcomes = [Outcome(f"question {i}", {"a": 0.5, "b": float(i % 2)}) for i in range(40)]
    write_outcomes(tmp_path / "groupless.jsonl", outcomes)
    data = file_data_sets([tmp_path / "groupless.jsonl"], folds=2)
    found = sweep(data, tmp_path / "out", routers=("linear", "composition"))
    assert "linear" in {router for _, router in found.runs}


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        ([Outcome("alone", {"a": 1.0, "b": 0.0})], "distinct queries"),
        ([Outcome(f"q {i}", {"a": 1.0}) for i in range(30)], "has outcomes of one expert"),
    ],
)
def test_data_that_leave_nothing_to_choose_are_an_error(tmp_path, outcomes, message):
    write_outcomes(tmp_path / "bad.jsonl", outcomes)
    with pytest.raises(ValueError, match=message):
        sweep(file_data_sets([tmp_path / "bad.jsonl"], folds=3), tmp_path / "out")


def test_an_unknown_or_unlearned_router_is_an_error_before_anything_is_read(data, tmp_path):
    shutil.rmtree(tmp_path / "nowhere", ignore_errors=True)
    with pytest.raises(ValueError, match="expected one of"):
        sweep(data, tmp_path / "nowhere", routers=("magic",))
    with pytest.raises(ValueError, match="does not learn"):
        sweep(data, tmp_path / "nowhere", routers=("random",))
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_of_something_else_is_left_alone(data, tmp_path):
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(ValueError, match="holds no sweep"):
        sweep(data, tmp_path)
    assert (tmp_path / "report.html").read_text() == "mine"


def test_notes_stay_when_nothing_is_left_to_do(tmp_path):
    train = [replace(outcome, split="train") for outcome in priced()]
    test = [Outcome(f"What is {i} * 7 ?", {"calculator": 1.0, "poet": 0.0}, split="test") for i in range(30, 60)]
    leaked = Outcome(train[0].query, {"calculator": 0.5, "poet": 0.1}, split="test")
    write_outcomes(tmp_path / "mine.jsonl", [*train, *test, leaked])
    data = file_data_sets([tmp_path / "mine.jsonl"])
    first, again = (sweep(data, tmp_path / "out").notes for _ in range(2))
    assert first == again and first[0].startswith("mine: dropped from what was held out")


def test_an_expert_without_costs_is_not_taken_to_be_free(tmp_path):
    write_outcomes(tmp_path / "mine.jsonl", specialists(costs={"calculator": 0.0001}))
    found = sweep(file_data_sets([tmp_path / "mine.jsonl"], folds=2), tmp_path / "out")
    row = row_of(found, "linear")
    assert row.cost is None and row.aiq is None
    assert any(note.endswith("poet") for note in found.notes)


def test_the_oracle_of_a_sparse_table_knows_just_what_was_tried(tmp_path):
    dice = np.random.default_rng(0)
    sparse = []
    for outcome in specialists():
        name = "calculator" if dice.random() < 0.3 else "poet"
        chance = 0.3 if name == "calculator" else 0.7
        sparse.append(replace(outcome, rewards={name: outcome.rewards[name]}, propensity={name: chance}))
    write_outcomes(tmp_path / "sparse.jsonl", sparse)
    found = sweep(file_data_sets([tmp_path / "sparse.jsonl"], folds=2), tmp_path / "out")
    assert row_of(found, "oracle").reward <= 0.9
    assert 0.4 < row_of(found, "linear").reward < 1.0


def test_queries_that_share_an_id_or_a_text_are_paired_over_seeds(tmp_path):
    outcomes = [Outcome(f"q {i // 2}", {"a": float(i % 3 == 0), "b": float(i % 3 != 0)}, id="same") for i in range(90)]
    write_outcomes(tmp_path / "twins.jsonl", outcomes)
    found = sweep(file_data_sets([tmp_path / "twins.jsonl"], folds=3), tmp_path / "out", seeds=3)
    constant = [row for row in found.rows if row.router == "best_constant"]
    assert len({row.queries for row in constant}) == 1
    assert len({row.earned for row in constant}) == 1, "the same query at the same place"


def test_a_folder_without_a_sweep_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no sweep"):
        read_sweep(tmp_path)
