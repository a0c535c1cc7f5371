"""What planning again is worth when traffic drifts: replanned placements beside one that stays, a greedy one and a random one.

    python -m evals.bench placement --seeds 5

Experts of several sizes and popularities live on nodes of two sites. From window to window some of them trade their popularity, and
every policy places them by the window that is over, knowing nothing of the next: that one is what they are judged by. Shares among
an expert's copies follow the traffic, as a scheduler's waits make them. All rows of a seed see the same traffic.
Not here: queues and latencies, which are the scheduler's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from orchestrator.scheduler.placement.base import Demand, Floats, Links, Node, Placement, Problem, Together
from orchestrator.scheduler.placement.greedy import greedy
from orchestrator.scheduler.placement.placing import moves, place, replan
from orchestrator.scheduler.placement.program import Copies, solve

WINDOW_S = 3600.0
NUM_PAIRS = 6
LOAD = 0.6
"""Of each node's time, if all work were spread evenly."""

Policy = Callable[[Problem, np.random.Generator], Placement]


@dataclass(frozen=True, slots=True)
class Row:
    """Means over windows and seeds, in seconds a second but for `moved_gb`, which is loaded in each window.

    busiest, worst_busiest: load of the busiest node, on average and in the worst window. total: with network, swaps and moves.
    """

    policy: str
    busiest: float
    worst_busiest: float
    network: float
    swapping: float
    moved_gb: float
    moving: float
    total: float


@dataclass(frozen=True, slots=True)
class _World:
    """memory_gb, service_s: `(n_experts,)`. popularity: work that each brings, as shares of all, `(n_windows, n_experts)`."""

    nodes: tuple[Node, ...]
    memory_gb: np.ndarray
    service_s: np.ndarray
    popularity: np.ndarray
    pairs: np.ndarray

    def problem(self, window: int, current: dict[str, set[str]]) -> Problem:
        work = self.popularity[window] * LOAD * len(self.nodes)
        rates = work / self.service_s
        sizes = (int(gb * 1e9) for gb in self.memory_gb)
        experts = zip(sizes, rates.tolist(), self.service_s.tolist(), strict=True)
        return Problem(
            nodes=self.nodes,
            experts=tuple(Demand(f"e{i}", *fields) for i, fields in enumerate(experts)),
            together=tuple(Together((f"e{a}", f"e{b}"), float(min(rates[a], rates[b])) / 2) for a, b in self.pairs),
            links=Links(near_s=0.002, far_s=0.02),
            current=current,
            horizon_s=WINDOW_S,
        )


def bench_placement(
    experts: int, nodes: int, memory: float, windows: int, *, seeds: int, time_limit_s: float
) -> Iterator[Row]:
    """One row for each policy. memory: of all nodes, as a multiple of that of all experts."""
    policies: dict[str, Policy] = {
        "replanned": lambda problem, _: replan(problem, time_limit_s=time_limit_s).placed.placement,
        "from scratch": lambda problem, _: place(_from_scratch(problem), time_limit_s=time_limit_s).placement,
        "static": lambda problem, _: _kept(problem) or place(problem, time_limit_s=time_limit_s).placement,
        "greedy": lambda problem, _: greedy(_from_scratch(problem)),
        "random": lambda problem, random: _kept(problem) or _random(problem, random),
    }
    for name, policy in policies.items():
        results = [_run(_world(experts, nodes, memory, windows, seed), policy, seed) for seed in range(seeds)]
        measured = np.array(results)
        means = measured.mean(axis=(0, 1)).tolist()
        worst = fmean(measured[:, :, 0].max(axis=1))
        yield Row(name, means[0], worst, *means[1:])


def _run(world: _World, policy: Policy, seed: int) -> list[tuple[float, ...]]:
    """Of every window but the first, which is seen only: busiest, network, swapping, moved GB, moving, total."""
    random, current = np.random.default_rng(seed), dict[str, set[str]]()
    rows: list[tuple[float, ...]] = []
    for window in range(1, len(world.popularity)):
        seen = world.problem(window - 1, current)
        placement = policy(seen, random)
        moved = moves(seen, placement)
        current = _current(seen, placement)
        met = world.problem(window, current)
        cost = met.cost(_shared(met, placement))
        moving = sum(move.seconds for move in moved) / WINDOW_S if window > 1 else 0.0
        moved_gb = sum(move.memory_bytes for move in moved) / 1e9 if window > 1 else 0.0
        rows.append((cost.busiest, cost.network, cost.swapping, moved_gb, moving, cost.total + moving))
    return rows


def _world(num_experts: int, num_nodes: int, memory: float, num_windows: int, seed: int) -> _World:
    random = np.random.default_rng(seed)
    memory_gb = random.choice([1.0, 2.0, 4.0, 8.0, 16.0], num_experts)
    room_gb = max(float(memory_gb.sum()) * memory / num_nodes, 16.0)
    popularity = 1.0 / np.arange(1, num_experts + 1) ** 0.8
    random.shuffle(popularity)
    rows = [popularity / popularity.sum()]
    for _ in range(num_windows):
        drifted, (a, b) = rows[-1].copy(), random.choice(num_experts, 2, replace=False)
        drifted[[a, b]] = drifted[[b, a]]
        rows.append(drifted)
    return _World(
        nodes=tuple(Node(f"n{i}", int(room_gb * 1e9), site="ab"[i % 2]) for i in range(num_nodes)),
        memory_gb=memory_gb,
        service_s=random.uniform(0.2, 2.0, num_experts),
        popularity=np.array(rows),
        pairs=np.array([random.choice(num_experts, 2, replace=False) for _ in range(NUM_PAIRS)]),
    )


def _from_scratch(problem: Problem) -> Problem:
    """With no thought of where experts are."""
    return replace(problem, current={})


def _current(problem: Problem, placement: Placement) -> dict[str, set[str]]:
    rows = zip(problem.experts, placement.resident, strict=True)
    return {demand.expert: {problem.nodes[i].name for i in np.flatnonzero(row)} for demand, row in rows}


def _kept(problem: Problem) -> Placement | None:
    """The current one, once there is one."""
    return solve(problem, Copies.unmoved(problem)).placement if problem.current else None


def _shared(problem: Problem, placement: Placement) -> Placement:
    """Its copies with the shares that suit the traffic best."""
    nobody = np.zeros(problem.shape[0], dtype=np.bool_)
    found = solve(problem, Copies.all_but(problem, placement, nobody)).placement
    return placement if found is None else found


def _random(problem: Problem, random: np.random.Generator) -> Placement:
    """Experts in random order, each on a random node that has room; if not all have, one node keeps room for visitors."""
    room_gb = np.zeros(problem.shape[1])
    placement = _filled(problem, room_gb, random)
    if placement.visiting.any():
        room_gb[problem.room_gb.argmax()] = problem.memory_gb.max()
        placement = _filled(problem, room_gb, random)
    return placement


def _filled(problem: Problem, room_gb: Floats, random: np.random.Generator) -> Placement:
    """room_gb: for visitors, `(n_nodes,)`; what fits nowhere else visits where there is most."""
    free_gb, shares = problem.room_gb - room_gb, np.zeros(problem.shape)
    visiting = np.zeros(problem.shape, dtype=np.bool_)
    for expert in random.permutation(problem.shape[0]):
        open_nodes = np.flatnonzero(free_gb >= problem.memory_gb[expert])
        node = int(random.choice(open_nodes)) if len(open_nodes) else int(room_gb.argmax())
        visiting[expert, node] = not len(open_nodes)
        free_gb[node] -= 0.0 if visiting[expert, node] else problem.memory_gb[expert]
        shares[expert, node] = 1.0
    return Placement((shares > 0) & ~visiting, visiting, shares)
