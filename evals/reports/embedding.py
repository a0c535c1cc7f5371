"""Expected rewards of a few routers on a sample of queries, small enough to travel inside a page that chooses again by itself.

    embedded = embed(tested, {"tagged": run}, seed=0)
    embedded.predicted["tagged"]                 # base64 of (n_queries, n_experts) uint16, 65535 is a reward of 1

Arrays are row-major and little-endian. Rewards are bytes, 254 is 1 and 255 is not tried; costs are float32 in US cents. Not here:
the choosing (`assets/whatif.js`), which does what `routers.training.evaluation.choose` does.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evals.sweeps.curves import known_costs
from evals.sweeps.nouns import Run, Tested

SAMPLE = 400
NOT_TRIED = 255
FULL = 254
FINEST = 65535


@dataclass(frozen=True, slots=True)
class Embedded:
    """n: queries in the sample of `num_queries`. expected_cents, cents: None where costs are not known in cents.

    trained_rewards, trained_cents: `(n_folds, n_experts)` float32, which the best single expert of a query's fold follows from.
    """

    n: int
    num_queries: int
    experts: tuple[str, ...]
    predicted: Mapping[str, str]
    rewards: str
    weights: str
    expected_cents: str | None
    cents: str | None
    fold: str
    trained_rewards: str
    trained_cents: str


def embed(tested: Tested, runs: Mapping[str, Run], *, sample: int = SAMPLE, seed: int = 0) -> Embedded:
    """Queries are drawn at random, without replacement."""
    table = tested.table
    size = min(sample, len(table))
    rows = np.sort(np.random.default_rng(seed).choice(len(table), size=size, replace=False))
    rewards = np.where(table.tried[rows], np.rint(np.nan_to_num(table.rewards[rows]) * FULL), NOT_TRIED)
    worth = tested.cents_per_unit if tested.has_costs else None
    return Embedded(
        size,
        len(table),
        table.experts,
        {name: _packed(np.rint(np.clip(run.predicted[rows], 0, 1) * FINEST), "<u2") for name, run in runs.items()},
        _packed(rewards, "u1"),
        _packed(tested.weights[rows], "<f4"),
        None if worth is None else _packed(np.nan_to_num(tested.cents[rows]), "<f4"),
        None if worth is None else _packed(known_costs(tested)[rows] * worth, "<f4"),
        _packed(tested.fold[rows], "u1"),
        _packed(tested.trained_rewards, "<f4"),
        _packed(np.nan_to_num(tested.trained_cents), "<f4"),
    )


def _packed(values: NDArray[np.generic], dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode()
