"""The simulated machine: things take the time that they are given, in order, and the core's promises hold on it."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.simulation.base import Setting
from evals.simulation.machine import Machine, Timing
from evals.simulation.running import places_of
from orchestrator.scheduler.core import Core
from tests.support.places import ask, local
from tests.support.world import World


class Referee:
    """Watches a machine of `slots` equal places, whose experts serve up to `batch` at once."""

    def __init__(self, slots: int, batch: int, together: bool) -> None:
        self.slots, self.batch, self.together = slots, batch, together
        self.now = 0.0
        self.waiting: set[str] = set()
        self.running: dict[str, dict[str, float]] = defaultdict(dict)
        self.answers: list[str] = []
        self.occupying: set[str] = set()
        self.ready: set[str] = set()

    def arrived(self, request_id, now):
        self._tick(now)
        self.waiting.add(request_id)

    def leased(self, request_id, expert, now):
        self._tick(now)
        self.waiting.remove(request_id)
        assert expert in self.ready
        begun = self.running[expert]
        assert len(begun) < self.batch
        assert not self.together or all(at == now for at in begun.values()), "joined a batch that was under way"
        begun[request_id] = now

    def answered(self, request_id, now):
        self._tick(now)
        (expert,) = [name for name, begun in self.running.items() if request_id in begun]
        del self.running[expert][request_id]
        self.answers.append(request_id)

    def refused(self, request_id, now):
        raise AssertionError(f"{request_id} was refused")

    def load_began(self, host, now):
        self._tick(now)
        assert host not in self.occupying
        self.occupying.add(host)
        assert len(self.occupying) <= self.slots

    def loaded(self, host, now):
        self._tick(now)
        self.ready.add(host)

    def unloaded(self, host, now):
        self._tick(now)
        assert not self.running[host], "stopped while it was in use"
        self.ready.discard(host)
        self.occupying.remove(host)

    def _tick(self, now):
        assert now >= self.now
        self.now = now


@settings(max_examples=60, deadline=None)
@given(
    asked=st.lists(st.tuples(st.floats(0.0, 60.0), st.integers(0, 4)), min_size=1, max_size=60),
    slots=st.integers(1, 4),
    swap_s=st.sampled_from([0.0, 1.0, 6.0]),
    batch=st.integers(1, 4),
    batching=st.sampled_from(["together", "continuous"]),
)
def test_everybody_is_answered_once_and_no_place_is_used_twice(asked, slots, swap_s, batch, batching):
    setting = Setting.even(5, slots, swap_s, batch, 2.0, batching)
    referee = Referee(slots, batch, batching == "together")
    machine = Machine(
        Core(places_of(setting), setting.budget_bytes, 0.0), Timing(lambda host: swap_s, lambda expert: 2.0), referee
    )
    machine.feed(iter([(at, ask(f"expert-{e}", request_id=f"r{i}")) for i, (at, e) in enumerate(sorted(asked))]))
    machine.run()
    assert sorted(referee.answers) == sorted(f"r{i}" for i in range(len(asked)))
    assert not referee.waiting


def test_loads_stops_and_answers_take_their_time():
    world = World([local("a", 60), local("b", 60)], 100, load_s=3.0, stop_s=0.5, service_s=2.0)
    world.arrive(1.0, ask("a"))
    world.arrive(10.0, ask("b"))
    world.run()
    assert world.loads == [("a", 1.0), ("b", 10.5)]
    assert [(s.expert, s.at) for s in world.served] == [("a", 4.0), ("b", 13.5)]
    assert world.now == 13.5 + 2.0 + 600.0 + 0.5  # served, idle for its keep_alive_s, stopped


def test_a_run_until_then_can_go_on():
    world = World([local("a", 60)], 100, load_s=3.0)
    world.arrive(1.0, ask("a"))
    world.run(3.0)
    assert world.served == []
    world.run()
    assert len(world.served) == 1


def test_a_load_that_fails_is_reported_and_its_requests_refused():
    refused = []

    class Witness(Referee):
        def refused(self, request_id, now):
            refused.append((request_id, now))

    timing = Timing(lambda host: 3.0, lambda expert: 1.0, fails=lambda host: True)
    machine = Machine(Core([local("a", 60)], 100, 0.0), timing, Witness(1, 1, together=False))
    machine.arrive(1.0, ask("a"))
    machine.run()
    assert refused == [("r", 4.0)]


def test_a_server_that_was_told_to_stop_while_it_loads_never_becomes_ready():
    world = World([local("a", 60)], 100, load_s=3.0, stop_s=0.5)
    world.arrive(0.0, ask("a"))
    world.run(1.0)
    world.core.unload("a", 1.0)
    world.arrive(1.0, ask("a", request_id="later"))
    world.run()
    assert [load[0] for load in world.loads] == ["a", "a"]
    assert {s.request_id for s in world.served} == {"r", "later"}
    assert min(s.at for s in world.served) == pytest.approx(4.5)
