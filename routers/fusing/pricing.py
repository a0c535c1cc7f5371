"""What calls cost, and how a mean cost is kept: from which gain for the money on another expert is asked, and in which order.

    prices = Prices.of(table)
    prices.relative(("small", "large"))         # array([0.2, 1.8]): what a call to each costs, in mean costs of a call
    offers = Offers.of([Way(0.0, *course.curve()), Way(1.0, *other.curve())])
    offers.best(0.002)                          # (1.0, 0.013): power and threshold; ask while gain / price is at least this

The rule is the one for mean calls (`stopping.py`), with the next expert's expected cost in the place of one call. Beside the order
by what is expected of experts there are orders in which a call's relative cost, to a power, divides their odds. Such an order is
taken where it has been worth more, on queries that the beliefs have not seen, by two standard errors: with prices much alike it
isn't. Not here: what answers say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from routers.base import FloatArray
from routers.fusing.stopping import Curve
from routers.fusing.table import AnswerTable, BoolArray

POWERS = (0.0, 0.125, 0.25, 0.5, 1.0, 50.0)
"""How much a call's cost counts in the order: first not at all, last hardly anything else."""
LEAST_PRICE = 1e-3
"""Of a call in mean costs of a call: one that is free is not infinitely good."""
CONFIDENCE = 2.0
"""Standard errors by which another order must have been worth more."""


@dataclass(frozen=True, slots=True)
class Prices:
    """costs: expected of a call, by expert, where they are known, in `unit`."""

    costs: Mapping[str, float]
    unit: str

    @classmethod
    def of(cls, table: AnswerTable) -> Self:
        means = zip(table.experts, table.mean_costs(), strict=True)
        return cls({name: float(cost) for name, cost in means if not np.isnan(cost)}, table.cost_unit)

    def relative(self, experts: Sequence[str]) -> FloatArray:
        """`(m,)`: in mean costs of a call, at least `LEAST_PRICE`. Raises ValueError for an expert whose costs are not known."""
        if unknown := [name for name in experts if name not in self.costs]:
            raise ValueError(
                f"mean_cost: what a call to '{unknown[0]}' costs is not known: the outcomes that were learned from don't say"
            )
        costs = np.array([self.costs[name] for name in experts])
        return np.maximum(costs / (costs.mean() or 1.0), LEAST_PRICE).astype(np.float32)


class Way(NamedTuple):
    """What the thresholds of a curve led to on n queries. power: of the order. values: `(n_thresholds, n)`."""

    power: float
    curve: Curve
    values: FloatArray


@dataclass(frozen=True, slots=True)
class Offers:
    """powers: `(k,)`, of each order. thresholds, costs, errors: `(k, n_thresholds)`, as of a `Curve`, of mean costs.

    leads: `(k, n_thresholds)`, by how much more each surely is worth than the first order for as much.
    """

    powers: FloatArray
    thresholds: FloatArray
    costs: FloatArray
    errors: FloatArray
    leads: FloatArray

    @classmethod
    def none(cls) -> Self:
        """Where costs are not known."""
        return cls(np.zeros(0, dtype=np.float32), *(np.zeros((0, 0), dtype=np.float32) for _ in range(4)))

    @classmethod
    def of(cls, orders: Iterable[Way]) -> Self:
        """The first is the one that others must beat. They are held one at a time: of many queries they are large."""
        ways = iter(orders)
        first = next(ways)
        powers, curves, leads = [first.power], [first.curve], [np.zeros(len(first.values), dtype=np.float32)]
        for each in ways:
            powers.append(each.power)
            curves.append(each.curve)
            leads.append(_leads(each, first))
        return cls(
            np.array(powers, dtype=np.float32),
            np.stack([curve.thresholds for curve in curves]),
            np.stack([curve.spent for curve in curves]),
            np.stack([curve.errors for curve in curves]),
            np.stack(leads),
        )

    def best(self, mean_cost: float) -> tuple[float, float]:
        """Power and threshold. Raises ValueError when no order keeps to the mean, by a margin, not even in one call a query."""
        curves = [Curve(*each) for each in zip(self.thresholds, self.costs, self.errors, strict=True)]
        fitting = [(i, place) for i, curve in enumerate(curves) if (place := curve.place(mean_cost)) is not None]
        if not fitting:
            least = min(float(curve.surely[-1]) for curve in curves)
            raise ValueError(
                f"mean_cost: one call a query takes {least:.6g} with the cheapest expert, got {mean_cost:.6g}"
            )
        order, place = max(fitting, key=lambda each: self.leads[each])
        return float(self.powers[order]), float(self.thresholds[order, place])


def handicap(price: FloatArray, power: float) -> FloatArray:
    """`(m,)`: log-odds that count against experts of these relative prices in the order of this power."""
    handicaps: FloatArray = np.float32(power) * np.log(price)
    return handicaps


def _leads(order: Way, first: Way) -> FloatArray:
    """`(n_thresholds,)`: over the threshold of the first order that takes as much, or over nothing where none does."""
    affordable: BoolArray = np.less_equal(first.curve.spent[None, :], order.curve.spent[:, None])
    beaten = np.where(affordable.any(axis=1, keepdims=True), first.values[affordable.argmax(axis=1)], np.float32(0.0))
    gains = order.values - beaten
    leads: FloatArray = gains.mean(axis=1) - np.float32(CONFIDENCE) * gains.std(axis=1) / np.sqrt(gains.shape[1])
    return leads.astype(np.float32)
