import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.simulation.base import Ints, Setting, Trace
from evals.simulation.registry import OURS, make_rules
from evals.simulation.replay import FOLDS, Replay, replay, replays
from evals.simulation.running import simulate
from evals.simulation.workloads import Workload
from evals.sweeps.datasets import DataSet
from routers.data.outcomes import write_outcomes
from routers.data.splits import normalised
from routers.encoders import HashedEncoder
from tests.support.outcomes import CHATS, SUMS, specialists


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "mine.jsonl"
    write_outcomes(path, specialists())
    return DataSet("mine", (path,), folds=FOLDS)


def alike(num_queries: int, num_experts: int, seed: int = 0) -> Replay:
    """Experts of whom each is best on its share of the queries, by little."""
    rng = np.random.default_rng(seed)
    scores = 0.6 + 0.02 * rng.random((num_queries, num_experts))
    groups = np.zeros(num_queries, dtype=np.int64)
    return Replay(tuple(map(str, range(num_experts))), scores, np.round(scores, 3), groups, ["q"] * num_queries)


def arrivals(n: int, rate: float = 3.0, seed: int = 0) -> Trace:
    return Workload(requests=n, rate=rate).trace(num_experts=2, seed=seed)


def run(trace, setting):
    return simulate(trace, setting, make_rules(OURS, setting, trace))


def test_each_query_is_replayed_in_one_fold_only(data):
    found = replays(data, "linear", HashedEncoder())

    assert len(found) == FOLDS
    assert sum(len(fold.scores) for fold in found) == len({normalised(query) for query in (*SUMS, *CHATS)})


def test_the_router_sends_sums_to_the_calculator(data):
    (fold, _) = replays(data, "linear", HashedEncoder())
    replayed = replay((fold,), arrivals(500), seed=0, mu=0.01)

    best = replayed.source.rewards[replayed.asked, replayed.apart.expert]
    assert best.mean() > 0.8


def test_who_was_not_tried_is_no_candidate_and_answers_nothing(tmp_path):
    outcomes = specialists()
    for outcome in outcomes[::3]:
        del outcome.rewards["poet"]
    write_outcomes(path := tmp_path / "gaps.jsonl", outcomes)
    (fold, _) = replays(DataSet("gaps", (path,), folds=FOLDS), "linear", HashedEncoder())
    replayed = replay((fold,), arrivals(400), seed=0, mu=0.01)
    setting = Setting.even(experts=2, slots=1)

    assert np.isnan(fold.scores).any()
    for trace in (replayed.joint, replayed.apart):
        assert not np.isnan(replayed.earned(run(trace, setting))).any()


def test_a_router_that_learns_nothing_is_refused(data):
    with pytest.raises(ValueError, match=r"'random' learns nothing from outcomes, expected one of .*auto"):
        replays(data, "random", HashedEncoder())


def test_the_same_requests_come_to_the_router_alone():
    replayed = replay((alike(50, 4),), arrivals(200), seed=3, mu=0.02)

    assert replayed.apart.utilities is None
    assert (replayed.apart.at_s == replayed.joint.at_s).all()
    assert (replayed.apart.expert == replayed.source.scores[replayed.asked].argmax(axis=1)).all()


def test_folds_take_turns_by_seed():
    folds = (alike(50, 4), alike(60, 4))

    assert [replay(folds, arrivals(10), seed, 0.0).source for seed in range(3)] == [folds[0], folds[1], folds[0]]


def counts(drawn: Ints, of: int) -> Ints:
    return np.bincount(drawn, minlength=of)


@given(n=st.integers(1, 300), num_queries=st.integers(1, 60), seed=st.integers(0, 5))
def test_every_query_is_asked_about_as_often_as_any_other(n, num_queries, seed):
    drawn = alike(num_queries, 2).draw(n, seed)

    assert len(drawn) == n
    assert np.ptp(counts(drawn, num_queries)) <= 1
    assert (drawn == alike(num_queries, 2).draw(n, seed)).all()


def test_queries_of_one_kind_come_in_a_row():
    source = Replay(("a", "b"), np.zeros((40, 2)), np.zeros((40, 2)), np.arange(40) % 4, ["q"] * 40)
    asked = replay((source,), arrivals(100), seed=0, mu=0.0, group_run=10).asked

    runs = (asked % 4).reshape(10, 10)
    assert (runs == runs[:, :1]).all()
    assert len(set(runs[:, 0])) > 1


def test_choosing_with_the_scheduler_waits_far_less_where_experts_are_nearly_alike():
    replayed = replay((alike(300, 8),), arrivals(1500), seed=0, mu=0.01)
    setting = Setting.even(experts=8, slots=2)

    joint, apart = run(replayed.joint, setting), run(replayed.apart, setting)

    assert np.percentile(joint.latency_s, 99) < np.percentile(apart.latency_s, 99) / 5
    assert replayed.earned(joint).mean() > replayed.earned(apart).mean() - 0.02


def test_what_is_earned_is_the_reward_of_who_answered():
    replayed = replay((alike(30, 3),), arrivals(100), seed=0, mu=0.01)
    done = run(replayed.joint, Setting.even(experts=3, slots=2))

    earned = replayed.earned(done)
    assert all(
        math.isclose(reward, replayed.source.rewards[query, expert])
        for reward, query, expert in zip(earned, replayed.asked, done.expert, strict=True)
    )
