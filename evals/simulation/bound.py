"""What no scheduler can beat: a proved lower bound on the waiting and swapping that a trace costs on a machine.

    bound = lower_bound(trace, Setting.even(experts=6), grid_s=1.0)
    cost_s(run, setting) >= bound.cost_s                                # whatever the policy that made the run

Cost is the seconds that requests wait, each from its arrival to the start of its batch, plus `swap_weight` for every second spent
loading. The bound knows all arrivals in advance. It is the optimum of an integer program, solved by HiGHS (Huangfu and Hall,
"Parallelizing the dual revised simplex method", 2018), whose proved dual bound is what counts; time-indexed networks that share a
capacity are the standard model for batches with set-up times (Pochet and Wolsey, "Production Planning by Mixed Integer
Programming", 2006).

Each expert walks through its own network of (in memory or not, requests served, period). It waits outside, is loaded and at once
serves a batch, serves another, idles in memory until its next arrival, or leaves; together the experts never occupy more than the
memory. Why what any policy does can be made such walks that cost no more:
- its times and durations are rounded down to whole periods. What came after something else still does, for the sum of two rounded
  numbers is at most their rounded sum, and what was not in memory together still isn't. Waiting is counted from the true arrivals;
- the requests of one expert differ only in their arrival, so serving them in order, and filling a batch with whoever waits when it
  starts, never adds waiting. A load that nobody uses can be left out, one that is early can begin later, and an expert idles only
  until the last of its next batch has arrived, so not at all while a full batch waits;
- a request that isn't served by the horizon waits until then, needs its expert loaded, and costs no memory.
Where arrivals and durations are whole periods, rounding loses nothing, for at best all begins when something arrives or is over; if
nothing is left over at the horizon either, the bound is what the best schedule costs (`Bound.exact`). Where only arrivals are
rounded, the best schedule costs at most a period per request more.

Not here: continuous batching, conversations whose requests wait for each other, and the choice of expert.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import LinearConstraint, OptimizeResult, milp
from scipy.sparse import csr_array

from evals.simulation.base import Floats, Ints, Run, Setting, Trace

ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Bound:
    """cost_s: no policy costs less. exact: and the best costs no more, but for the solver's tolerance of 0.01%."""

    cost_s: float
    exact: bool


def cost_s(run: Run, setting: Setting, swap_weight: float = 1.0) -> float:
    """What a run has cost: seconds waited for a batch to start, and `swap_weight` for every second of loading."""
    return float((run.started_s - run.arrived_s).sum() + swap_weight * setting.load_s[run.load_expert].sum())


def lower_bound(
    trace: Trace,
    setting: Setting,
    *,
    swap_weight: float = 1.0,
    grid_s: float = 1.0,
    horizon_s: float | None = None,
    time_limit_s: float = 120.0,
) -> Bound:
    """No policy serves the trace at a lower cost, with nothing in memory at first and one server per expert.

    grid_s: the length of a period. horizon_s: what comes later is not planned; None is long enough for most instances. The bound is
    valid whatever they and time_limit_s are. Raises ValueError for a trace or a setting that it is not about.
    """
    if setting.batching != "together" or trace.after is not None or trace.utilities is not None:
        raise ValueError("the bound is for batches that start together, independent requests and one expert for each")
    if not len(trace):
        return Bound(0.0, exact=True)
    horizon = math.ceil((_horizon_s(trace, setting) if horizon_s is None else horizon_s) / grid_s)
    asked = np.unique(trace.expert)
    network = _Network([_Expert.of(int(expert), trace, setting, swap_weight, grid_s, horizon) for expert in asked])
    solved = _solve(network, setting, horizon, time_limit_s)
    at_least = swap_weight * float(setting.load_s[asked].sum())
    if solved.mip_dual_bound is not None:
        at_least = max(at_least, solved.mip_dual_bound)
    return Bound(at_least, exact=solved.status == 0 and _is_a_run(solved.x, network, trace, setting, grid_s))


def _horizon_s(trace: Trace, setting: Setting) -> float:
    """When all would be done, were each expert loaded once after the last arrival, side by side, and then some."""
    batches = np.minimum(np.ceil(np.bincount(trace.expert, minlength=len(setting.experts)) / setting.batch), 2)
    one_by_one = np.where(batches > 0, setting.load_s + batches * setting.service_s + setting.stop_s, 0.0)
    return float(trace.at_s[-1] + (one_by_one @ setting.size_bytes) / setting.budget_bytes)


def _periods(seconds: float | Floats, grid_s: float) -> Ints:
    return np.floor(np.asarray(seconds) / grid_s + ROUNDING).astype(np.int64)


def _is_a_run(chosen: Floats, network: _Network, trace: Trace, setting: Setting, grid_s: float) -> bool:
    """Whether the cheapest walks could really happen: nobody is left over, and nothing was rounded."""
    durations = np.concatenate([trace.at_s, setting.load_s, setting.service_s, [setting.stop_s]])
    rounded = np.abs(_periods(durations, grid_s) * grid_s - durations).max() > ROUNDING * max(1.0, durations.max())
    return not rounded and not network.left_over[chosen > 0.5].any()


class _Node(NamedTuple):
    """Where an expert is in its walk: `served` of its requests have been, at the start of `period`."""

    resident: bool
    served: int
    period: int


class _Step(NamedTuple):
    """To another node, or None at the walk's end. It occupies the expert's memory until `free_at`, if later than the node."""

    to: _Node | None
    cost_s: float
    free_at: int


@dataclass(frozen=True, slots=True)
class _Expert:
    """One expert of the instance; times are periods unless they end in _s.

    available: (horizon + 1,) how many of its requests have arrived by the start of each period. next_arrival: (horizon + 1,) in
    which period the next one does, if any. arrived_sum_s: (total + 1,) arrivals, summed from the first on.
    """

    size_bytes: int
    batch: int
    load: int
    service: int
    stop: int
    load_cost_s: float
    grid_s: float
    horizon: int
    available: Ints
    next_arrival: Ints
    arrived_sum_s: Floats

    @classmethod
    def of(
        cls, expert: int, trace: Trace, setting: Setting, swap_weight: float, grid_s: float, horizon: int
    ) -> _Expert:
        at_s = trace.at_s[trace.expert == expert]
        arrivals = _periods(at_s, grid_s)
        periods = np.arange(horizon + 1)
        available = np.searchsorted(arrivals, periods, side="right")
        return cls(
            size_bytes=int(setting.size_bytes[expert]),
            batch=int(setting.batch[expert]),
            load=int(_periods(setting.load_s[expert], grid_s)),
            service=int(_periods(setting.service_s[expert], grid_s)),
            stop=int(_periods(setting.stop_s, grid_s)),
            load_cost_s=swap_weight * float(setting.load_s[expert]),
            grid_s=grid_s,
            horizon=horizon,
            available=available,
            next_arrival=np.append(arrivals, horizon)[available],
            arrived_sum_s=np.concatenate([[0.0], np.cumsum(at_s)]),
        )

    @property
    def total(self) -> int:
        """How many requests there are."""
        return len(self.arrived_sum_s) - 1

    def steps(self, node: _Node) -> Iterator[_Step]:
        resident, served, period = node
        if served == self.total:
            yield _Step(None, 0.0, period + self.stop)
        elif period == self.horizon:
            later_s = 0.0 if resident else self.load_cost_s
            yield _Step(None, later_s + self._waited_s(served, self.total, period), period)
        elif resident:
            if self.available[period] < min(served + self.batch, self.total):
                idle_until = min(int(self.next_arrival[period]), self.horizon)
                yield _Step(_Node(True, served, idle_until), 0.0, idle_until)
            yield _Step(_Node(False, served, min(period + self.stop, self.horizon)), 0.0, period + self.stop)
            yield from self._batch(served, period, 0.0)
        else:
            yield _Step(_Node(False, served, period + 1), 0.0, period)
            yield from self._batch(served, period + self.load, self.load_cost_s)

    def _batch(self, served: int, start: int, cost_s: float) -> Iterator[_Step]:
        """Whoever waits at `start` is served, as many as fit."""
        if start >= self.horizon:
            return
        through = min(served + self.batch, int(self.available[start]))
        if through > served:
            end = start + self.service
            waited_s = self._waited_s(served, through, start)
            yield _Step(_Node(True, through, min(end, self.horizon)), cost_s + waited_s, end)

    def _waited_s(self, first: int, end: int, start: int) -> float:
        """What the requests [first, end) have waited if they start at `start`."""
        return (end - first) * start * self.grid_s - float(self.arrived_sum_s[end] - self.arrived_sum_s[first])


class _Arc(NamedTuple):
    """A step from node `tail` to node `head`, which is -1 at a walk's end; `left_over` says that it ended too early."""

    tail: int
    head: int
    cost_s: float
    size_bytes: int
    start: int
    free_at: int
    left_over: bool


class _Network:
    """All walks of all experts, as arrays (arcs,) of what `_Arc` names. sources: the node where each expert begins."""

    def __init__(self, experts: list[_Expert]) -> None:
        self.sources: list[int] = []
        self.num_nodes = 0
        arcs = [arc for expert in experts for arc in self._walks(expert)]
        columns = (np.array(column) for column in zip(*arcs, strict=True))
        self.tail, self.head, self.cost_s, self.size_bytes, self.start, self.free_at, self.left_over = columns

    def _walks(self, expert: _Expert) -> Iterator[_Arc]:
        source = _Node(False, 0, 0)
        numbers = {source: self.num_nodes}
        self.sources.append(self.num_nodes)
        open_nodes = [source]
        while open_nodes:
            node = open_nodes.pop()
            for to, cost_s, free_at in expert.steps(node):
                if to is not None and to not in numbers:
                    numbers[to] = self.num_nodes + len(numbers)
                    open_nodes.append(to)
                head = -1 if to is None else numbers[to]
                left_over = to is None and node.served < expert.total
                yield _Arc(numbers[node], head, cost_s, expert.size_bytes, node.period, free_at, left_over)
        self.num_nodes += len(numbers)


def _solve(network: _Network, setting: Setting, horizon: int, time_limit_s: float) -> OptimizeResult:
    """The cheapest walks, one for each expert, that together never occupy more than the memory."""
    leaving = np.zeros(network.num_nodes)
    leaving[network.sources] = 1.0
    flow, occupied_bytes = _flow(network), _occupied_bytes(network, horizon)
    unit_bytes = np.gcd.reduce([*network.size_bytes, setting.budget_bytes])
    return milp(
        network.cost_s,
        integrality=np.ones(len(network.cost_s)),
        bounds=(0, 1),
        constraints=[
            LinearConstraint(flow, leaving, leaving),
            LinearConstraint(occupied_bytes / unit_bytes, -np.inf, setting.budget_bytes / unit_bytes),
        ],
        options={"time_limit": time_limit_s},
    )


def _flow(network: _Network) -> csr_array:
    """(nodes, arcs): 1 where an arc leaves a node, -1 where it arrives."""
    arcs = np.arange(len(network.cost_s))
    inner = network.head >= 0
    signs = np.concatenate([np.ones(len(arcs)), -np.ones(int(inner.sum()))])
    nodes = np.concatenate([network.tail, network.head[inner]])
    at = (nodes, np.concatenate([arcs, arcs[inner]]))
    return csr_array((signs, at), shape=(network.num_nodes, len(arcs)))


def _occupied_bytes(network: _Network, horizon: int) -> csr_array:
    """(periods, arcs): what an arc occupies in each period."""
    lengths = np.minimum(network.free_at, horizon) - network.start
    arcs = np.repeat(np.arange(len(lengths)), lengths)
    periods = np.arange(len(arcs)) - np.repeat(np.cumsum(lengths) - lengths - network.start, lengths)
    return csr_array((network.size_bytes[arcs].astype(float), (periods, arcs)), shape=(horizon, len(lengths)))
