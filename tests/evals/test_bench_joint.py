import pytest

from evals.bench_joint import bench_joint, joint_table
from evals.simulation.registry import OURS
from evals.simulation.replay import ROUTE_THEN_SCHEDULE
from routers.data.outcomes import write_outcomes
from routers.encoders import HashedEncoder
from tests.support.outcomes import specialists


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outcomes")
    write_outcomes(folder / "routerdc7-train.jsonl.gz", specialists())
    found = bench_joint(folder, HashedEncoder(), rates=(3.0,), mus=(0.001, 0.01), seeds=2, requests=150)
    return list(found)


def test_every_mu_stands_beside_routing_first(rows):
    assert [(row.policy, row.mu) for row in rows] == [(ROUTE_THEN_SCHEDULE, 0.0), (OURS, 0.001), (OURS, 0.01)]


def test_routing_first_is_what_others_are_compared_with(rows):
    first, *joint = rows

    assert (first.p99_share, first.gain) == (1.0, 0.0)
    for row in joint:
        assert row.gain == pytest.approx(row.reward - first.reward, abs=1e-4)
        assert row.low <= row.gain <= row.high


def test_the_table_has_a_line_for_every_row(rows):
    lines = joint_table(rows).splitlines()

    assert len(lines) == 2 + len(rows)
    assert "| 3/s | switchyard | 0.01 |" in lines[-1]


def test_a_folder_without_any_of_the_data_says_what_was_expected(tmp_path):
    with pytest.raises(ValueError, match="expected the outcomes of one of MMLU-Pro, ZeroEval"):
        list(bench_joint(tmp_path, HashedEncoder()))


def test_an_unknown_workload_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no workload 'mine', expected some of MMLU-Pro, "):
        list(bench_joint(tmp_path, HashedEncoder(), only=("RouterDC", "mine")))
