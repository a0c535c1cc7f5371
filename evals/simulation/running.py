"""One trace on one machine under one policy: `simulate(trace, setting, rules)`.

    run = simulate(trace, setting, make_rules("switchyard", setting, trace))
    run.latency_s.max()

What is run is the scheduler's own core, in simulated time, with nothing in memory at first and room for every waiter. Not here:
what a run says (`measures.py`), several of them (`comparing.py`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evals.simulation.base import NOBODY, Ints, Run, Setting, Trace
from evals.simulation.machine import Machine, Timing
from orchestrator.scheduler.base import LeaseRequest, Place
from orchestrator.scheduler.core import Core
from orchestrator.scheduler.rules import Rules
from orchestrator.scheduler.state import Expert, Host
from routers.policy import Choice


class TooSlow(Exception):
    """More requests than may have taken longer than they may."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How many requests may take longer than `latency_s` before a run is given up."""

    latency_s: float
    num_requests: int


def simulate(trace: Trace, setting: Setting, rules: Rules, patience: Patience | None = None, seed: int = 0) -> Run:
    """seed: of which loads fail: an expert's first, second, ... does or doesn't whatever the rules and the other experts are.

    Raises `TooSlow` when `patience` is at an end, and ValueError when the trace is about other experts than the setting.

    A policy that leaves requests waiting for ever is a RuntimeError.
    """
    known = len(setting.experts)
    if len(trace) and trace.expert.max() >= known:
        raise ValueError(f"the trace asks for expert {trace.expert.max()}, and there are {known}, numbered from 0")
    if trace.utilities is not None and trace.utilities.shape[1] != known:
        raise ValueError(f"the trace has utilities of {trace.utilities.shape[1]} experts, and there are {known}")
    return _Replay(trace, setting, rules, patience, seed).run()


def places_of(setting: Setting) -> list[Place]:
    """What the scheduler is told of the experts. They stay in memory until they are evicted."""
    return [
        Place(
            name,
            name,
            holds_weights=True,
            memory_bytes=int(setting.size_bytes[index]),
            keep_alive_s=math.inf,
            concurrency=int(setting.batch[index]),
            batching=setting.batching,
        )
        for index, name in enumerate(setting.experts)
    ]


def _timing(setting: Setting, seed: int) -> Timing:
    load_s: dict[str, float] = dict(zip(setting.experts, setting.load_s.tolist(), strict=True))
    service_s: dict[str, float] = dict(zip(setting.experts, setting.service_s.tolist(), strict=True))
    slowing = setting.slowing if setting.batching == "continuous" else 0.0
    draws = {name: np.random.default_rng((seed, index)) for index, name in enumerate(setting.experts)}

    def served(expert: Expert) -> float:
        return service_s[expert.name] * (1.0 + slowing * (expert.host.leases - 1))

    def fails(host: Host) -> bool:
        return setting.load_failures > 0.0 and draws[host.name].random() < setting.load_failures

    return Timing(lambda host: load_s[host.name], served, setting.stop_s, fails)


class _Replay:
    """Hands the trace to a machine, and notes when what happens to each request."""

    def __init__(self, trace: Trace, setting: Setting, rules: Rules, patience: Patience | None, seed: int) -> None:
        core = Core(
            places_of(setting), setting.budget_bytes, 0.0, rules=rules, max_waiting=len(trace) + 1, uniform=lambda: 0.5
        )
        self._machine = Machine(core, _timing(setting, seed), self)
        self._trace = trace
        self._names = setting.experts
        self._index = {name: index for index, name in enumerate(setting.experts)}
        self._alone = [(Choice(name, 0.0),) for name in setting.experts]
        self._sessions = None if trace.session is None else [None if s == NOBODY else str(s) for s in trace.session]
        self._followers = _followers(trace)
        self._patient_s = math.inf if patience is None else patience.latency_s
        self._patience = math.inf if patience is None else patience.num_requests
        n = len(trace)
        self._at_s: list[float] = trace.at_s.tolist()
        self._arrived_s = [math.nan] * n
        self._started_s = [math.nan] * n
        self._done_s = [math.nan] * n
        self._expert = [NOBODY] * n
        self._refused = 0
        self._loads: list[tuple[int, float]] = []
        self._hosts = [core.expert(name).host for name in setting.experts]
        self._serving = np.zeros((n,) if trace.utilities is None else trace.utilities.shape, dtype=bool)

    def run(self) -> Run:
        self._machine.feed(self._arrivals())
        self._machine.run()
        done_s = np.array(self._done_s)
        if left := int(np.isnan(done_s).sum()) - self._refused:
            raise RuntimeError(f"the policy leaves {left} of {len(done_s)} requests waiting for ever")
        expert = np.array(self._expert, dtype=np.int64)
        loads = np.array(self._loads).reshape(-1, 2)
        return Run(
            np.array(self._arrived_s),
            np.array(self._started_s),
            done_s,
            expert,
            self._cold(expert),
            loads[:, 0].astype(np.int64),
            loads[:, 1],
        )

    def _arrivals(self) -> Iterator[tuple[float, LeaseRequest]]:
        follows = None if self._trace.after is None else (self._trace.after != NOBODY).tolist()
        for index, at in enumerate(self._at_s):
            if follows is None or not follows[index]:
                yield at, self._request(index)

    def _request(self, index: int) -> LeaseRequest:
        trace = self._trace
        if trace.utilities is None:
            candidates = self._alone[trace.expert[index]]
        else:
            utilities = trace.utilities[index]
            ranking = [i for i in np.argsort(-utilities, kind="stable").tolist() if not math.isnan(utilities[i])]
            candidates = tuple(Choice(self._names[i], float(utilities[i])) for i in ranking)
        session = None if self._sessions is None else self._sessions[index]
        return LeaseRequest(str(index), candidates, trace.mu, math.inf, session=session)

    def _over(self, index: int, now: float) -> None:
        """It has its answer, or a refusal: whoever waited for that thinks, and asks."""
        for follower in self._followers.get(index, ()):
            self._machine.arrive(now + self._at_s[follower] - self._at_s[index], self._request(follower))

    def _cold(self, expert: Ints) -> NDArray[np.bool_]:
        """Whether the one who answered took no requests when this one came: away, loading, or on its way out."""
        served = self._serving if self._serving.ndim == 1 else self._serving[np.arange(len(expert)), expert]
        cold: NDArray[np.bool_] = ~served | (expert == NOBODY)
        return cold

    # What the machine tells

    def arrived(self, request_id: str, now: float) -> None:
        index = int(request_id)
        self._arrived_s[index] = now
        if self._serving.ndim == 1:
            self._serving[index] = self._hosts[self._trace.expert[index]].serving
        else:
            self._serving[index] = [host.serving for host in self._hosts]

    def leased(self, request_id: str, expert: str, now: float) -> None:
        index = int(request_id)
        self._started_s[index] = now
        self._expert[index] = self._index[expert]

    def answered(self, request_id: str, now: float) -> None:
        index = int(request_id)
        self._done_s[index] = now
        if now - self._arrived_s[index] > self._patient_s:
            self._patience -= 1
            if self._patience < 0:
                raise TooSlow
        self._over(index, now)

    def refused(self, request_id: str, now: float) -> None:
        self._refused += 1
        self._over(int(request_id), now)

    def load_began(self, host: str, now: float) -> None:
        self._loads.append((self._index[host], now))

    def loaded(self, host: str, now: float) -> None: ...

    def unloaded(self, host: str, now: float) -> None: ...


def _followers(trace: Trace) -> dict[int, list[int]]:
    """By request, those that wait for its answer."""
    followers: dict[int, list[int]] = defaultdict(list)
    if trace.after is not None:
        for index, before in enumerate(trace.after.tolist()):
            if before != NOBODY:
                followers[before].append(index)
    return followers
