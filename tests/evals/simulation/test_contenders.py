"""Every policy answers everything within memory, the same way each time; and each does what it is known for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.simulation.base import Run, Setting, Trace
from evals.simulation.registry import POLICIES, make_rules
from evals.simulation.running import simulate
from tests.support.places import ask, local
from tests.support.world import World

A, B, C, D = range(4)


def asked(*requests: tuple[float, int]) -> Trace:
    at_s, expert = zip(*sorted(requests), strict=True)
    return Trace(np.array(at_s, dtype=np.float64), np.array(expert))


def run(policy: str, trace: Trace, **machine: object) -> Run:
    setting = machine.pop("setting", None) or Setting.even(experts=4, **{"slots": 2, "batch": 1, **machine})
    return simulate(trace, setting, make_rules(policy, setting, trace))


def loads(run: Run) -> list[int]:
    return run.load_expert.tolist()


# All alike

traces = st.lists(st.tuples(st.integers(0, 200).map(lambda at: at / 4), st.integers(A, D)), min_size=1, max_size=40)


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=25, deadline=None)
@given(requests=traces, batch=st.integers(1, 3), batching=st.sampled_from(["together", "continuous"]))
def test_every_request_is_answered_and_again_at_the_same_times(policy, requests, batch, batching):
    trace = asked(*requests)
    runs = [run(policy, trace, batch=batch, batching=batching) for _ in range(2)]
    assert (runs[0].expert == trace.expert).all()
    assert (runs[0].started_s >= trace.at_s).all()
    np.testing.assert_array_equal(runs[0].done_s, runs[1].done_s)
    np.testing.assert_array_equal(runs[0].load_s, runs[1].load_s)


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=25, deadline=None)
@given(requests=traces, seed=st.integers(0, 99), load_failures=st.sampled_from([0.0, 0.4]))
def test_nobody_waits_for_ever_where_there_is_a_choice_or_loads_fail(policy, requests, seed, load_failures):
    utilities = np.random.default_rng(seed).random((len(requests), 4))
    trace = replace(asked(*requests), utilities=utilities, mu=0.02)
    setting = replace(Setting.even(experts=4), load_failures=load_failures)
    came = simulate(trace, setting, make_rules(policy, setting, trace))  # raises where somebody does
    assert load_failures or (came.expert >= 0).all()


class Watched(World):
    """Notes how much memory is taken whenever a load begins, the one that begins included."""

    def load_began(self, host: str, now: float) -> None:
        taken = sum(other.memory_bytes for other in self.core.hosts.values() if other.state != "cold")
        self.most_taken = max(getattr(self, "most_taken", 0), taken)


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=25, deadline=None)
@given(requests=traces, sizes=st.lists(st.integers(1, 10), min_size=4, max_size=4))
def test_memory_stays_within_the_budget(policy, requests, sizes):
    setting = replace(Setting.even(experts=4), experts=("a", "b", "c", "d"))
    rules = make_rules(policy, setting, asked(*requests))
    world = Watched([local(name, size) for name, size in zip("abcd", sizes, strict=True)], 12, rules=rules)
    for number, (at, expert) in enumerate(requests):
        world.arrive(at, ask("abcd"[expert], request_id=str(number)))
    world.run()
    assert len(world.served) == len(requests)
    assert world.most_taken <= 12


# Each its own way

STREAM = [(float(at), A) for at in range(100)]
"""As many requests for one expert as its place serves twice over."""

AFTER_THE_STREAM = 6.0 + 100 * 2.0 + 6.0


@pytest.mark.parametrize(
    ("policy", "begins_at"),
    [
        ("fifo", 8 + 6),
        ("lru", 8 + 6),
        ("ray_serve", 8 + 6),
        ("ollama", 8 + 6),
        ("qlm", 6 + 4 * 2 + 6),
        ("quantum", 6 + 4 * 6 + 6),
        ("deadline", 32 + 6),  # 30.5 is in the middle of an answer
        ("exhaustive", AFTER_THE_STREAM),
        ("longest_queue", AFTER_THE_STREAM),
        ("llama_swap", AFTER_THE_STREAM),
        ("coserve", AFTER_THE_STREAM),
        ("belady", AFTER_THE_STREAM),
    ],
)
def test_when_one_request_gets_its_turn_beside_a_stream(policy, begins_at):
    came = run(policy, asked(*STREAM, (0.5, B)), slots=1)
    assert came.started_s[came.expert == B] == pytest.approx(begins_at)


@pytest.mark.parametrize(
    ("policy", "begins_at"), [("fifo", 16), ("lru", 10.5), ("ollama", 10.5), ("ray_serve", 10.5), ("exhaustive", 10.5)]
)
def test_only_strict_order_keeps_a_resident_from_serving_during_a_load(policy, begins_at):
    came = run(policy, asked((0, A), (10, B), (10.5, A)))
    assert came.started_s.tolist() == [6, 16, begins_at]


@pytest.mark.parametrize(("policy", "begins_at"), [("ollama", 26), ("lru", 23), ("exhaustive", 23)])
def test_ollama_serves_nobody_while_it_waits_for_an_unload(policy, begins_at):
    machine = {"batch": 2, "batch_s": 20.0, "batching": "continuous"}
    came = run(policy, asked((0, A), (10, B), (20, C), (23, B)), **machine)
    assert came.started_s.tolist() == [6, 16, 32, begins_at]


def test_ray_serve_loads_one_at_a_time():
    assert run("ray_serve", asked((0, A), (0, B))).load_s.tolist() == [0, 6]
    assert run("lru", asked((0, A), (0, B))).load_s.tolist() == [0, 0]


@pytest.mark.parametrize("policy", ["fifo", "lru", "ray_serve", "llama_swap", "exhaustive", "qlm"])
def test_the_least_recently_used_goes(policy):
    assert loads(run(policy, asked((0, A), (0.1, B), (20, A), (30, C), (50, A)))) == [A, B, C]


def test_ollama_evicts_the_first_that_is_idle():
    assert loads(run("ollama", asked((0, A), (0.1, B), (20, A), (30, C), (50, A)))) == [A, B, C, A]


def test_coserve_evicts_what_is_asked_for_least_however_recently():
    often = [(at, A) for at in (0, 60, 62, 64)]
    requests = [*often, (20, B), (40, C)]
    assert loads(run("coserve", asked(*requests))) == [A, B, C]
    assert loads(run("exhaustive", asked(*requests))) == [A, B, C, A]


def test_belady_evicts_what_is_needed_last():
    requests = [(0, A), (20, B), (40, C), (60, A), (80, B)]
    assert loads(run("belady", asked(*requests))) == [A, B, C, B]
    assert loads(run("exhaustive", asked(*requests))) == [A, B, C, A, B]


@pytest.mark.parametrize(("policy", "begins_at"), [("llama_swap", 40 + 6), ("exhaustive", 20 + 6)])
def test_llama_swap_waits_for_the_victim_that_is_cheapest_to_load(policy, begins_at):
    setting = replace(Setting.even(experts=4, batch=1), load_s=np.array([2.0, 6.0, 6.0, 6.0]))
    busy = [(at, A) for at in range(10, 25)]
    came = run(policy, asked((0, A), (0, B), *busy, (20, C)), setting=setting)
    assert came.started_s[came.expert == C] == pytest.approx(begins_at)


def test_the_longest_queue_is_next():
    requests = asked((0, A), (1, B), (2, C), (3, C))
    assert loads(run("longest_queue", requests, slots=1)) == [A, C, B]
    assert loads(run("exhaustive", requests, slots=1)) == [A, B, C]
