"""Synthetic requests: as many, as often and for whom they should be, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.simulation.base import NOBODY
from evals.simulation.workloads import Workload

KINDS = [
    {"arrivals": "poisson"},
    {"arrivals": "bursty"},
    {"arrivals": "diurnal"},
    {"session_calls": 6.0},
    {"drift_s": 60.0},
]


def fields(trace):
    return [values for values in (trace.at_s, trace.expert, trace.session, trace.after) if values is not None]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_requests_and_another_others(kind):
    workload = Workload(requests=300, **kind)
    first, again, other = (workload.trace(8, seed) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(fields(first), fields(again), strict=True))
    assert not (first.at_s == other.at_s).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_rate_is_what_was_asked_for(kind):
    traces = [Workload(requests=20_000, rate=5.0, **kind).trace(8, seed) for seed in range(3)]
    assert np.mean([len(trace) / trace.at_s[-1] for trace in traces]) == pytest.approx(5.0, rel=0.06)


@given(rate=st.floats(0.1, 100.0), seed=st.integers(0, 5))
def test_another_rate_gives_the_same_requests_at_other_times(rate, seed):
    one = Workload(requests=100, rate=1.0).trace(8, seed)
    other = Workload(requests=100, rate=rate).trace(8, seed)
    assert other.at_s == pytest.approx(one.at_s / rate)
    assert (other.expert == one.expert).all()


def test_popularity_follows_zipf():
    counts = np.bincount(Workload(requests=100_000, zipf=1.0).trace(4, 0).expert)
    shares = np.sort(counts)[::-1] / counts.sum()
    assert shares == pytest.approx(np.array([1, 1 / 2, 1 / 3, 1 / 4]) / (25 / 12), abs=0.01)


def test_poisson_arrivals_are_even_and_bursty_ones_are_not():
    poisson, bursty = (
        np.bincount(Workload(requests=20_000, rate=5.0, arrivals=kind).trace(1, 0).at_s.astype(int) // 10)
        for kind in ("poisson", "bursty")
    )
    assert poisson.var() / poisson.mean() == pytest.approx(1.0, abs=0.3)
    assert bursty.var() / bursty.mean() > 10


def test_a_diurnal_rate_is_low_at_first_and_high_half_a_period_later():
    at_s = Workload(requests=20_000, rate=5.0, arrivals="diurnal", period_s=1000.0).trace(1, 0).at_s % 1000.0
    trough, peak = ((at_s < 100) | (at_s > 900)).sum(), ((at_s > 400) & (at_s < 600)).sum()
    assert peak > 5 * trough


def test_popularity_drifts():
    trace = Workload(requests=20_000, rate=10.0, zipf=2.0, drift_s=200.0).trace(16, 0)
    favourites = {int(np.bincount(trace.expert[trace.at_s // 200 == epoch]).argmax()) for epoch in range(9)}
    assert len(favourites) >= 4


def test_popularity_may_drift_much_faster_than_requests_come():
    trace = Workload(requests=1000, zipf=4.0, drift_s=1e-9).trace(4, 0)
    assert np.bincount(trace.expert) == pytest.approx(250, abs=60), "each request has a favourite of its own"


def test_a_session_calls_few_experts_one_after_the_other():
    trace = Workload(requests=5000, session_calls=8.0, session_experts=2, think_s=3.0).trace(16, 0)
    follows = trace.after != NOBODY
    assert (trace.session[follows] == trace.session[trace.after[follows]]).all()
    assert (~follows).sum() == len(np.unique(trace.session))
    assert len(trace) / len(np.unique(trace.session)) == pytest.approx(8.0, rel=0.15)
    assert max(len(np.unique(trace.expert[trace.session == s])) for s in range(200)) <= 2
    thought_s = (trace.at_s - trace.at_s[trace.after])[follows]
    assert thought_s.min() >= 0
    assert thought_s.mean() == pytest.approx(3.0, rel=0.1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rate": 0.0}, "rate: expected more than 0, got 0.0"),
        ({"rate": float("nan")}, "rate: expected more than 0, got nan"),
        ({"rate": float("inf")}, "rate: expected more than 0, got inf"),
        ({"zipf": -1.0}, "zipf: expected 0 or more, got -1.0"),
        ({"burst": 0.5}, "burst: expected 1 or more, got 0.5"),
        ({"drift_s": 0.0}, "drift_s: expected more than 0, got 0.0"),
    ],
)
def test_what_a_workload_can_not_be(wrong, message):
    with pytest.raises(ValueError, match=message):
        Workload(**wrong)
