"""What routers are measured beside: choices that need no router, and one that no router can make.

    baselines(tested, worth, 0.0)["best_single"]       # (n_queries,) columns

`best_single` and `group_best` were chosen in the training part; `best_constant` knows the test rewards, so it is what the best
single expert would be with more data; the oracle knows each answer's reward, and most of what it adds is luck. What the shares of a
router earn when they are dealt out blindly, the cost-matched control, is a number of every row (`rows.py`).
"""

from __future__ import annotations

import numpy as np

from evals.sweeps.nouns import Tested
from routers.base import FloatArray
from routers.training.evaluation import Choice

BEST_SINGLE, ORACLE = "best_single", "oracle"
BASELINES = ("random", "cheapest", "best_constant", BEST_SINGLE, "group_best", ORACLE)


def baselines(tested: Tested, worth: FloatArray, lambda_: float) -> dict[str, Choice]:
    """worth: `reward - lambda * cents` of each answer, `(n_queries, n_experts)`, complete."""
    n, num_experts = worth.shape
    dice = np.random.default_rng(tested.setting.seed)
    found: dict[str, Choice] = {
        "random": np.array(dice.integers(0, num_experts, size=n), dtype=np.intp),
        "best_constant": np.full(n, (tested.weights[:, None] * worth).mean(axis=0).argmax(), dtype=np.intp),
        BEST_SINGLE: tested.best_single(lambda_),
        "group_best": tested.group_best,
        ORACLE: np.where(tested.table.tried, worth, -np.inf).argmax(axis=1),
    }
    if tested.has_costs:
        found["cheapest"] = np.nan_to_num(tested.trained_cents, nan=np.inf).argmin(axis=1)[tested.fold]
    return found
