"""How far a router is from blind choice, from the best single expert and from the oracle: LLMRouterBench's three ratios.

    gain_at_random(0.66, random=0.60)                    # 0.1: earns a tenth more than blind choice
    gain_at_best(0.66, single=0.64), gap_at_oracle(0.66, oracle=0.88)

All arguments are mean rewards over the same queries. LLMRouterBench (arXiv 2601.07206), section 3.2, takes the mean over data sets
of each one's accuracy, and draws its random router once; blind choice has an exact expectation, the mean over experts. Each is
NaN when what it is compared with earns nothing. Not here: differences and their intervals (`routers/training/evaluation.py`).
"""

from __future__ import annotations

import numpy as np

from routers.training.evaluation import Choice


def gain_at_random(reward: float, random: float) -> float:
    """`reward / random - 1`, Gain@R. random: of an expert that was drawn blindly for each query."""
    return _ratio(reward, random) - 1.0


def gain_at_best(reward: float, single: float) -> float:
    """`reward / single - 1`, Gain@B. single: of the best single expert."""
    return _ratio(reward, single) - 1.0


def gap_at_oracle(reward: float, oracle: float) -> float:
    """`1 - reward / oracle`, Gap@O: 0 is perfect. oracle: of the best expert of each query."""
    return 1.0 - _ratio(reward, oracle)


def largest_share(choice: Choice) -> float:
    """The share of queries `(n_queries,)` that go to the expert chosen most: 1 is a router that chooses nothing."""
    return float(np.bincount(choice).max() / len(choice))


def _ratio(reward: float, other: float) -> float:
    return reward / other if other else float("nan")
