"""What every smaller fleet would earn, and each expert's part in what the whole one earns: pure functions over arrays.

    preferred = predicted - lambda_ * cents                 # (n_queries, n_experts): what the router goes by
    fleet_values(preferred, utility)[0b101]                 # of experts 0 and 2 alone
    best_fleets(preferred, utility)                         # the best fleet of each size, as columns
    shapley_values(preferred, utility).mean(axis=0)         # sums to what the whole fleet earns

A fleet that lost experts sends each query to the one it prefers among those left, because no router of ours needs a refit for that.
So a query's reward in a fleet is that of the first member in the query's own order of preference, which makes all of this exact
and cheap. Not here: intervals, and which half of the queries chooses (`advising.py`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from routers.base import FloatArray
from routers.training.evaluation import Choice, choose

Doubles = NDArray[np.float64]

MAX_EXACT = 16
"""Experts of which every fleet is valued; of more, fleets are pruned one expert at a time."""


def routed(preferred: FloatArray, experts: Choice) -> Choice:
    """`(n_queries,)`: the expert, among these columns in rising order, that each query goes to; the first of equals."""
    choice: Choice = experts[choose(preferred[:, experts])]
    return choice


def fleet_values(preferred: FloatArray, utility: FloatArray) -> Doubles:
    """`(2 ** n_experts,)`: the mean utility of every fleet, a bit for each of its experts; 0 for the empty one.

    An expert earns its utility on a query in just those fleets that have it and none of those the query prefers to it. So utilities
    are summed by the set of what was preferred, and a fleet collects the sums of all sets outside it (a subset-sum transform):
    `O(n_queries * n + n**2 * 2**n)` for `n` experts. Raises ValueError for more than `MAX_EXACT`.
    """
    count = utility.shape[1]
    if count > MAX_EXACT:
        raise ValueError(f"expected at most {MAX_EXACT} experts, got {count}")
    order, earned = _by_preference(preferred, utility)
    bits = 1 << order
    passed_over = bits.cumsum(axis=1) - bits
    fleets = np.arange(1 << count)
    values: Doubles = np.zeros(1 << count)
    for expert in range(count):
        here = order == expert
        sums = np.bincount(passed_over[here], weights=earned[here], minlength=1 << count)
        for bit in range(count):
            halves = sums.reshape(-1, 2, 1 << bit)
            halves[:, 1] += halves[:, 0]
        values += (fleets >> expert & 1) * sums[::-1]  # the complement of fleet i is the i-th from the end
    return values / len(utility)


def best_fleets(preferred: FloatArray, utility: FloatArray) -> tuple[Choice, ...]:
    """The columns of the best fleet of 1, 2, ... experts: of all there are, or of more than `MAX_EXACT` experts by pruning.

    Pruning takes out the expert that is missed least, again and again, and so may miss the best.
    """
    count = utility.shape[1]
    if count > MAX_EXACT:
        return _pruned(preferred, utility)
    values = fleet_values(preferred, utility)
    sizes = np.bitwise_count(np.arange(1 << count))
    best = [int(np.where(sizes == size, values, -np.inf).argmax()) for size in range(1, count + 1)]
    return tuple(np.flatnonzero(fleet >> np.arange(count) & 1) for fleet in best)


def shapley_values(preferred: FloatArray, utility: FloatArray) -> Doubles:
    """`(n_queries, n_experts)`: each expert's Shapley value (1953) in the game in which a fleet earns what its choice earns.

    The mean rise in utility when the expert joins, over all orders in which the fleet could have been put together from nothing;
    a row sums to the utility of the whole fleet's choice. The utility u of the expert that comes behind r others in the query's
    preference counts only until one of those joins: it is first of the r + 1 with probability 1 / (r + 1), and each of the r is
    the one to end it with probability 1 / (r (r + 1)).
    """
    order, earned = _by_preference(preferred, utility)
    behind = np.arange(utility.shape[1])
    ended = np.divide(earned, behind * (behind + 1), out=np.zeros_like(earned), where=behind > 0)
    values = earned / (behind + 1) - (ended.sum(axis=1, keepdims=True) - ended.cumsum(axis=1))
    found: Doubles = np.empty_like(values)
    np.put_along_axis(found, order, values, axis=1)
    return found


def _by_preference(preferred: FloatArray, utility: FloatArray) -> tuple[Choice, Doubles]:
    """The columns of each query from the most preferred on, equals in their order, and the utility of each."""
    order = np.argsort(-preferred, axis=1, kind="stable")
    return order, np.take_along_axis(utility, order, axis=1).astype(np.float64)


def _pruned(preferred: FloatArray, utility: FloatArray) -> tuple[Choice, ...]:
    rows, left = np.arange(len(utility)), np.arange(utility.shape[1])
    found = [left]
    while len(left) > 1:
        smaller = [np.delete(left, i) for i in range(len(left))]
        left = max(smaller, key=lambda experts: float(utility[rows, routed(preferred, experts)].mean()))
        found.append(left)
    return tuple(reversed(found))
