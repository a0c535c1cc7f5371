"""Which quantisation of each expert to keep under a memory budget.

    chosen = choose_variants(experts, budget_bytes=24_000_000_000)
    chosen.variants["large"]                       # Variant("q4", 4_900_000_000, 0.61), or None: it is left out
    chosen.quality, chosen.another_gb              # mean quality of the traffic, and what one more GB would add to it

MC-MoE (arXiv 2410.06270) chooses the bits of each expert of a layer by such a program over how often it is used and what its
quantisation loses; EdgeMoE (arXiv 2308.14352) chooses bits by measured loss. Here an expert is a whole model, and its quality the
mean reward of each variant on the queries that it is sent. Not here: measuring that (`switchyard bench`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from orchestrator.errors import ConfigError

MB, GB = 1_000_000, 1_000_000_000
_EXACT = 1e-9
"""Of the solver's gap: which of two variants is kept can be a small part of the whole."""


@dataclass(frozen=True, slots=True)
class Variant:
    """quality: mean reward, 0..1."""

    name: str
    memory_bytes: int
    quality: float


@dataclass(frozen=True, slots=True)
class Variants:
    """One expert. traffic: its share of requests, in any unit. without: quality of its queries if others must answer them."""

    expert: str
    traffic: float
    variants: tuple[Variant, ...]
    without: float = 0.0


@dataclass(frozen=True, slots=True)
class Precision:
    """variants: by expert, None for one that is left out. quality: mean over the traffic. bound: if variants could be kept in part.

    another_gb: what the best choice with one GB more adds to quality. price_per_gb: the same at the margin of the relaxed
    program, the dual of its memory row; it is smooth, where `another_gb` may be 0 until the next variant fits.
    """

    variants: Mapping[str, Variant | None]
    memory_bytes: int
    quality: float
    bound: float
    another_gb: float
    price_per_gb: float


def choose_variants(experts: Sequence[Variants], budget_bytes: int) -> Precision:
    """The variants of highest mean quality that fit together. Raises `ConfigError` for numbers that make no sense."""
    _check(experts, budget_bytes)
    program = _Program(experts)
    taken = program.solve(budget_bytes)
    relaxed, _ = program.relaxed(budget_bytes)
    _, price = program.relaxed(
        budget_bytes + MB
    )  # at the budget itself it may be the price of the last GB, not of the next
    variants: dict[str, Variant | None] = {expert.expert: None for expert in experts}
    for cell in np.flatnonzero(taken):
        owner, variant = program.cells[cell]
        variants[experts[owner].expert] = variant
    return Precision(
        variants=variants,
        memory_bytes=sum(variant.memory_bytes for variant in variants.values() if variant),
        quality=program.quality(taken),
        bound=relaxed,
        another_gb=max(program.quality(program.solve(budget_bytes + GB)) - program.quality(taken), 0.0),
        price_per_gb=price,
    )


class _Program:
    """cells: every variant and whose it is. A variant gains what its quality exceeds that of doing without, times its traffic.

    Memory is in whole MB, rounded to the safe side, so that a solver's tolerance is never memory.
    """

    def __init__(self, experts: Sequence[Variants]) -> None:
        self.cells = [(i, variant) for i, expert in enumerate(experts) for variant in expert.variants]
        traffic = np.array([expert.traffic for expert in experts])
        share = traffic / traffic.sum()
        self._least = float(share @ np.array([expert.without for expert in experts]))
        self._gains = np.array([share[i] * (variant.quality - experts[i].without) for i, variant in self.cells])
        self._gb = np.ceil(np.array([variant.memory_bytes for _, variant in self.cells]) / MB) * (MB / GB)
        owners = np.array([i for i, _ in self.cells], dtype=np.intp)
        ones = np.ones(len(self.cells))
        self._one_each = sparse.csr_array((ones, (owners, np.arange(len(owners)))), shape=(len(experts), len(owners)))

    def quality(self, taken: NDArray[np.bool_]) -> float:
        return self._least + float(self._gains @ taken)

    def solve(self, budget_bytes: int) -> NDArray[np.bool_]:
        found = milp(
            -self._gains,
            integrality=np.ones(len(self.cells)),
            bounds=Bounds(0, 1),
            constraints=[
                LinearConstraint(self._one_each, ub=1.0),
                LinearConstraint(self._gb[None, :], ub=_floor_gb(budget_bytes)),
            ],
            options={"mip_rel_gap": _EXACT},
        )
        if found.x is None:
            raise RuntimeError(f"HiGHS: {found.message}")
        taken: NDArray[np.bool_] = (found.x > 0.5) & (self._gains > 0)
        return taken

    def relaxed(self, budget_bytes: int) -> tuple[float, float]:
        """Quality if variants could be kept in part, and what a GB adds to it."""
        rows = sparse.vstack([self._one_each, self._gb[None, :]], format="csr")
        limits = np.append(np.ones(self._one_each.shape[0]), _floor_gb(budget_bytes))
        found = linprog(-self._gains, A_ub=rows, b_ub=limits, bounds=(0, 1), method="highs-ds")
        if found.status != 0:
            raise RuntimeError(f"HiGHS: {found.message}")
        return self._least - float(found.fun), max(-float(found.ineqlin.marginals[-1]), 0.0)


def _floor_gb(budget_bytes: int) -> float:
    return budget_bytes // MB * (MB / GB)


def _check(experts: Sequence[Variants], budget_bytes: int) -> None:
    names = [expert.expert for expert in experts]
    if not names or len(set(names)) < len(names):
        raise ConfigError("expected experts, each of them once")
    for expert in experts:
        if not expert.variants:
            raise ConfigError(f"'{expert.expert}' has no variants")
        if any(variant.memory_bytes < 0 or not np.isfinite(variant.quality) for variant in expert.variants):
            raise ConfigError(f"'{expert.expert}': expected memory of 0 or more, and a quality")
    if budget_bytes < 0 or any(not 0 <= expert.traffic < np.inf for expert in experts):
        raise ConfigError("expected a budget and traffic of 0 or more")
    if sum(expert.traffic for expert in experts) <= 0:
        raise ConfigError("expected traffic above 0 for some expert")
