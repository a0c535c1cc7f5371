"""Placement as a mixed integer program, solved by HiGHS through scipy.

    solution = solve(problem, time_limit_s=10.0)
    solution.placement, solution.bound          # no placement costs less than the bound

MoETuner (arXiv 2502.06643) balances load and communication by such a program; ExFlow (arXiv 2401.08383) has experts that follow
each other on one device; SMILE (arXiv 2212.05191) treats the links between nodes and those within apart. What is new here are
visitors, several copies of one expert, and moves. The product of two experts' places is linear because a pair's two shares are
compared on a tree of nodes and sites, where the least that has to travel is the sum of their differences.
Not here: what is done where that takes too long (`greedy.py`, `improving.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from orchestrator.scheduler.placement.base import Bools, Floats, Placement, Problem

_TIME_LIMIT = 1
"""scipy's status when the time ran out."""
_INFEASIBLE = 2

_INTERIOR_S = 1.0
"""From so much time on interior points: sooner done where memory is tight, but deaf to a limit that ends before they begin."""

TOLERANCE_GB = 1e-6
"""Of sums of whole MB."""


@dataclass(frozen=True, slots=True)
class Solution:
    """placement: None when there was none in time, or is none at all. bound: no placement that was allowed costs less."""

    placement: Placement | None
    bound: float


@dataclass(frozen=True)
class Copies:
    """What a copy may be: fixed ones are 1 in both, impossible ones 0 in both. Arrays are `(n_experts, n_nodes)`."""

    resident_low: Bools
    resident_high: Bools
    visiting_low: Bools
    visiting_high: Bools

    @classmethod
    def free(cls, problem: Problem) -> Copies:
        """Whatever fits."""
        none = np.zeros(problem.shape, dtype=np.bool_)
        return cls(none, problem.fits, none, problem.fits)

    @classmethod
    def all_but(cls, problem: Problem, placement: Placement, freed: Bools) -> Copies:
        """Those of the placement, except that the `freed` experts, `(n_experts,)`, may be wherever they fit."""
        resident, visiting = placement.resident, placement.visiting
        kept, possible = ~freed[:, None], problem.fits & freed[:, None]
        return cls(resident & kept, resident | possible, visiting & kept, visiting | possible)

    @classmethod
    def unmoved(cls, problem: Problem) -> Copies:
        """Those of the current placement; experts that it lacks visit."""
        none, homeless = np.zeros(problem.shape, dtype=np.bool_), ~problem.is_current.any(axis=1, keepdims=True)
        return cls(problem.is_current, problem.is_current, none, problem.fits & homeless)


def solve(problem: Problem, copies: Copies | None = None, *, time_limit_s: float = 10.0) -> Solution:
    """The best placement with such copies (by default any), or the best found in time."""
    if time_limit_s <= 0:
        return Solution(None, _least(problem))
    program = _Program(problem, copies or Copies.free(problem))
    found = milp(
        program.objective(),
        integrality=program.integrality(),
        bounds=program.bounds(),
        constraints=list(program.constraints()),
        options={"time_limit": time_limit_s},
    )
    if found.status not in (0, _TIME_LIMIT, _INFEASIBLE):
        raise RuntimeError(f"HiGHS: {found.message}")
    bound = np.inf if found.status == _INFEASIBLE else found.mip_dual_bound or 0.0
    placement = None if found.x is None else program.placement(found.x)
    if placement is not None and (problem.used_gb(placement) > problem.room_gb + TOLERANCE_GB).any():
        placement = None  # HiGHS has been seen to call solutions optimal that break a row
    return Solution(placement, max(float(bound), _least(problem)))


def relaxed_bound(problem: Problem, *, time_limit_s: float = 10.0) -> float:
    """What no placement costs less than, even if copies could be cut into pieces and links were free: much faster than `solve`.

    Pieces could be everywhere, so that pairs would cost about nothing in any case.
    """
    if time_limit_s <= 0:
        return _least(problem)
    program = _Program(replace(problem, together=()), Copies.free(problem))
    whole, *rows = program.constraints()
    bounds = program.bounds()
    found = linprog(
        program.objective(),
        A_eq=whole.A,
        b_eq=np.full(whole.A.shape[0], whole.ub),
        A_ub=sparse.vstack([row.A for row in rows], format="csr"),
        b_ub=np.concatenate([np.broadcast_to(row.ub, row.A.shape[0]) for row in rows]),
        bounds=np.column_stack((bounds.lb, bounds.ub)),
        method="highs-ipm" if time_limit_s >= _INTERIOR_S else "highs-ds",
        options={"time_limit": time_limit_s},
    )
    return max(float(found.fun) if found.status == 0 else 0.0, _least(problem))


def _least(problem: Problem) -> float:
    """A bound at once: as if work could be cut at will, and memory were enough for every expert where it is cheapest."""
    speeds = np.array([node.speed for node in problem.nodes])
    busiest = sum(demand.rate_per_s * demand.service_s for demand in problem.experts) / speeds.sum()
    cheapest = np.where(problem.fits, np.minimum(problem.moving, problem.swapping), np.inf).min(axis=1)
    return float(busiest + cheapest.sum())


class _Program:
    """The variables, in this order: resident, visiting and shares (each expert x node), the room for visitors (GB, by node), what
    the busiest node does, and how far the two of each pair are apart (pair x place)."""

    def __init__(self, problem: Problem, copies: Copies) -> None:
        self._problem, self._copies = problem, copies
        self._experts, self._nodes = problem.shape
        self._sizes = [*[self._experts * self._nodes] * 3, self._nodes, 1, len(problem.pairs) * len(problem.places[1])]

    def objective(self) -> Floats:
        problem, copies = self._problem, self._experts * self._nodes
        _, leaving = problem.places
        apart = np.outer(problem.pair_rates, leaving)
        flat = (problem.moving, problem.swapping, np.zeros(copies), np.zeros(self._nodes), np.ones(1), apart)
        return np.concatenate([block.ravel() for block in flat])

    def integrality(self) -> Floats:
        return np.repeat([1.0, 1.0, 0.0, 0.0, 0.0, 0.0], self._sizes)

    def bounds(self) -> Bounds:
        copies, rest = self._copies, sum(self._sizes[3:])
        low = (copies.resident_low.ravel(), copies.visiting_low.ravel(), np.zeros(self._sizes[2] + rest))
        high = (
            copies.resident_high.ravel(),
            copies.visiting_high.ravel(),
            np.ones(self._sizes[2]),
            np.full(rest, np.inf),
        )
        return Bounds(np.concatenate(low), np.concatenate(high))

    def constraints(self) -> Iterator[LinearConstraint]:
        problem, each = self._problem, sparse.eye_array(self._experts * self._nodes)
        by_expert = sparse.kron(sparse.eye_array(self._experts), np.ones((1, self._nodes)))
        memory = self._by_node(np.repeat(problem.memory_gb[:, None], self._nodes, axis=1))
        largest = sparse.kron(np.ones((self._experts, 1)), sparse.eye_array(self._nodes))
        loads = {1: self._by_node(problem.swapping), 2: self._by_node(problem.work), 4: -np.ones((self._nodes, 1))}
        yield self._rows({2: by_expert}, low=1.0, high=1.0)  # the first: `relaxed_bound` takes it for the only equation
        yield self._rows({0: each, 1: each}, high=1.0)
        yield self._rows({0: -each, 1: -each, 2: each})
        yield self._rows({0: memory, 3: sparse.eye_array(self._nodes)}, high=problem.room_gb)
        yield self._rows({1: sparse.diags_array(np.repeat(problem.memory_gb, self._nodes)), 3: -largest})
        yield self._rows(loads)
        if len(problem.pairs):
            yield from self._apart()

    def _apart(self) -> Iterator[LinearConstraint]:
        pairs, (places, leaving) = self._problem.pairs, self._problem.places
        starts = np.arange(0, pairs.size + 1, 2)
        first_less_second = sparse.csr_array(
            (np.tile([1.0, -1.0], len(pairs)), pairs.ravel(), starts), shape=(len(pairs), self._experts)
        )
        inside = sparse.kron(first_less_second, places.astype(np.float64))
        each = sparse.eye_array(len(pairs) * len(leaving))
        yield self._rows({2: inside, 5: -each})
        yield self._rows({2: -inside, 5: -each})

    def _by_node(self, values: Floats) -> sparse.coo_array:
        """`(n_nodes, n_experts * n_nodes)`: sums over experts."""
        cells = np.arange(values.size)
        return sparse.coo_array((values.ravel(), (cells % self._nodes, cells)), shape=(self._nodes, values.size))

    def _rows(
        self, blocks: dict[int, sparse.sparray | Floats], *, low: float = -np.inf, high: float | Floats = 0.0
    ) -> LinearConstraint:
        """Rows of the variables' blocks by number; the others are zeros."""
        height = next(iter(blocks.values())).shape[0]
        row = [blocks.get(i, sparse.coo_array((height, size))) for i, size in enumerate(self._sizes)]
        return LinearConstraint(sparse.hstack(row, format="csr"), low, high)

    def placement(self, found: Floats) -> Placement:
        """Rounded as the solver's tolerances require: what is none of a copy serves nothing, and nothing idle visits."""
        resident, visiting, shares = (
            found[i * self._sizes[0] : (i + 1) * self._sizes[0]].reshape(self._problem.shape) for i in range(3)
        )
        copies = (resident > 0.5, (visiting > 0.5) & (shares > 1e-9))
        kept = np.where(copies[0] | copies[1], shares.clip(0.0), 0.0)
        return Placement(*copies, kept / kept.sum(axis=1, keepdims=True))
