"""The benchmark on a small table: every sampler beside the baseline, and statements that are wrong told from right ones."""

import numpy as np

from evals.active.base import Crossing, Verdict
from evals.active.benchmark import bench_active, is_right
from evals.active.registry import SAMPLERS
from routers.base import Outcome
from routers.data.outcomes import write_outcomes

TRUTH = np.array([[0.9, 0.5], [0.4, 0.5]])
OVERALL = np.array([0.65, 0.5])


def test_each_sampler_has_a_row_beside_uniform(tmp_path):
    dice = np.random.default_rng(0)
    outcomes = [
        Outcome(
            f"q{i}", {"a": float(dice.random() < 0.8), "b": float(dice.random() < 0.3), "c": 0.0}, group="gh"[i % 2]
        )
        for i in range(200)
    ]
    write_outcomes(tmp_path / "routerbench11-dev.jsonl.gz", outcomes)
    rows = list(bench_active(tmp_path, seeds=2, delta=0.05, only=["routerbench11"]))
    assert {row.sampler for row in rows} == {*SAMPLERS, "not paired"}
    assert all(row.ratio == 1.0 for row in rows if row.sampler == "uniform")
    best = next(row for row in rows if (row.sampler, row.about) == ("best_arm", "these"))
    assert (best.decided, best.right) == (1.0, 1.0)
    assert best.calls < 600 * 0.5
    assert best.low <= best.calls <= best.high


def test_what_is_stated_is_compared_with_what_is_so():
    assert is_right(Verdict("best", standing=((0,),)), TRUTH, OVERALL)
    assert not is_right(Verdict("best", standing=((1,),)), TRUTH, OVERALL)
    assert is_right(Verdict("best-by-group", standing=((0,), (1,))), TRUTH, OVERALL)
    assert not is_right(Verdict("best-by-group", standing=((0,), (0,))), TRUTH, OVERALL)
    assert is_right(Verdict("ranking", ranking=(0, 1)), TRUTH, OVERALL)
    assert not is_right(Verdict("ranking", ranking=(1, 0)), TRUTH, OVERALL)
    assert is_right(Verdict("ranking", ranking=(1, 0), unsettled=((1, 0),)), TRUTH, OVERALL)


def test_a_crossing_that_is_none_is_wrong():
    standing = ((0,), (1,))
    assert is_right(Verdict("best-by-group", standing, crossings=(Crossing(0, 1, 0, 1),)), TRUTH, OVERALL)
    assert not is_right(Verdict("best-by-group", standing, crossings=(Crossing(0, 1, 1, 0),)), TRUTH, OVERALL)
