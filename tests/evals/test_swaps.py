"""Models that don't fit together: a few requests under every policy, with experts that fail, and as a batch."""

from __future__ import annotations

import asyncio
import math
from importlib.util import find_spec

import numpy as np
import pytest

from evals.simulation.base import Trace
from evals.simulation.registry import OURS, POLICIES
from evals.simulation.replay import ROUTE_THEN_SCHEDULE, Replay, replay
from evals.swaps.choosing import ask_for_rewards
from evals.swaps.fleet import COPIES, is_here
from evals.swaps.running import BULK, QUERIES, ask_as_batch, ask_under, bench_swaps
from routers.data.outcomes import write_outcomes
from tests.support.faulty import expert
from tests.support.recorded import recorded_outcomes
from tests.support.service import write_config

ECHO = {"name": "echo", "backend": "echo"}
FAILS = {"name": "fails", "backend": "function", "callable": "tests.support.callables:fail"}
TURNS = Trace(np.array([0.0, 0.0, 0.01]), np.array([0, 1, 1]))
TEXTS = ["one", "two", "three"]


@pytest.fixture
def servers(tmp_path):
    """Two that don't fit together."""
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
    return write_config(tmp_path, expert("left"), expert("right"), memory={"budget_gb": 0.1})


@pytest.mark.parametrize("policy", POLICIES)
async def test_every_policy_swaps_the_experts_of_the_fleet(servers, policy):
    row = await ask_under(servers, policy, TEXTS, TURNS)
    assert (row.policy, row.requests, row.failed) == (policy, 3, 0)
    assert row.swaps >= 2
    assert 0 < row.latency_p50_s <= row.latency_p99_s <= row.total_s


async def test_the_same_requests_as_a_batch(servers):
    row = await ask_as_batch(servers, TEXTS, TURNS)
    assert (row.policy, row.requests, row.failed, row.swaps) == (BULK, 3, 0, 2)


async def test_a_request_that_fails_is_counted_and_ends_no_other(tmp_path):
    row = await ask_under(write_config(tmp_path, ECHO, FAILS), OURS, TEXTS, TURNS)
    assert (row.requests, row.failed) == (3, 2)
    assert row.latency_p99_s == math.inf


def asked_of(rewards, scores, n=6):
    """n requests at once for a fleet of two."""
    source = Replay(("echo", "fails"), np.array(scores), np.array(rewards), np.zeros(2, dtype=int), ["q", "r"])
    return replay([source], Trace(np.zeros(n), np.zeros(n, dtype=int)), seed=0, mu=0.001)


@pytest.mark.parametrize(("mu", "policy"), [(None, ROUTE_THEN_SCHEDULE), (0.001, OURS)])
async def test_an_answer_earns_what_is_on_record_for_whoever_gave_it(tmp_path, mu, policy):
    asked = asked_of([[1.0, 0.0], [0.5, 0.0]], [[0.9, 0.1], [0.9, 0.1]])
    row = await ask_for_rewards(write_config(tmp_path, ECHO, FAILS), asked, mu)
    assert (row.policy, row.mu, row.requests, row.failed, row.reward) == (policy, mu or 0.0, 6, 0, 75.0)


async def test_an_expert_that_fails_gives_its_lease_back_and_earns_nothing(tmp_path):
    """It serves one at a time: the second would wait for ever."""
    asked = asked_of([[1.0, 0.0], [1.0, 0.0]], [[0.9, np.nan], [np.nan, 0.9]])
    config = write_config(tmp_path, ECHO, FAILS | {"limits": {"concurrency": 1}})
    async with asyncio.timeout(10):
        row = await ask_for_rewards(config, asked, mu=0.001)
    assert (row.failed, row.reward) == (3, 100.0)
    assert (row.latency_p50_s, row.latency_p99_s) == (math.inf, math.inf)


@pytest.mark.slow
def test_every_request_is_answered_and_a_batch_loads_each_expert_at_most_once(tmp_path):
    if find_spec("xllamacpp") is None or not is_here():
        pytest.skip("needs xllamacpp and the models: python -m evals.bench swaps fetches them")
    write_outcomes(tmp_path / QUERIES, recorded_outcomes({"a": 0.5}, n=12))
    policies = ["switchyard", "fifo"]
    rows = {row.policy: row for row in bench_swaps(tmp_path, requests=12, rate=4.0, policies=policies)}
    assert [row.failed for row in rows.values()] == [0, 0, 0]
    assert rows[BULK].swaps <= 2 * COPIES
    assert rows["switchyard"].swaps <= rows["fifo"].swaps
