"""A weak expert whose answer stands where another weak one agrees, and a strong one elsewhere: what that saves at equal reward.

claim(Path("data/outcomes")).difference       # share of the strong expert's cost

Final answers of ZeroEval's tasks are compared, as `confidence: agreement` compares samples; outcomes have one answer per expert, so
the second sample is another cheap expert's, and is paid for. What is saved is counted against the cheapest lot between the
weak and the strong expert that earns as much as the cascade, and against the strong expert alone where no lot does: a
cascade that saves by being worse saves nothing here. Costs are list prices times characters written; prompts are not counted.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evals.claims.base import Claim
from routers.base import FloatArray, Outcome
from routers.cascade import is_sure
from routers.confidence import agreement
from routers.data.outcomes import read_outcomes

WEAK, SECOND, STRONG = "gpt-4o-mini-2024-07-18", "gemini-1.5-flash", "gpt-4o-2024-08-06"
USD_PER_MILLION = {WEAK: 0.6, SECOND: 0.3, STRONG: 10.0}
"""Of output tokens, as listed when these models answered, late in 2024."""
RESAMPLES = 2_000


def claim(data: Path) -> Claim:
    """The interval is a bootstrap over queries. Raises ValueError when the outcomes are not there."""
    path = data / "zeroeval-dev.jsonl.gz"
    if not path.exists():
        raise ValueError(f"{data}: expected zeroeval-dev.jsonl.gz")
    rows = np.array(
        [_row(outcome) for outcome in read_outcomes(path) if USD_PER_MILLION.keys() <= outcome.rewards.keys()]
    )
    dice = np.random.default_rng(0)
    drawn = [saved(rows[dice.integers(0, len(rows), len(rows))]) for _ in range(RESAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Claim(
        name="cascade",
        paper="arXiv 2311.05185, 2305.05176, 2310.12963",
        statement=f"{WEAK}, with {STRONG} where it is not sure, costs less than what earns as much without asking how sure it is",
        difference=saved(rows),
        low=float(low),
        high=float(high),
        n=len(rows),
        unit="share of the strong expert's cost",
    )


def saved(rows: FloatArray) -> float:
    """Share of the strong expert's cost. rows: reward and cost of the cascade, the weak and the strong expert, `(n, 6)`."""
    ours, cost, weak, weak_cost, strong, strong_cost = rows.mean(axis=0)
    if ours <= weak:
        lot = weak_cost
    elif ours >= strong:
        lot = strong_cost
    else:
        lot = weak_cost + (ours - weak) / (strong - weak) * (strong_cost - weak_cost)
    return float((lot - cost) / strong_cost)


def _row(outcome: Outcome) -> tuple[float, ...]:
    answers = [outcome.answers.get(name) for name in (WEAK, SECOND)]
    confidence = agreement([answer for answer in answers if answer is not None])
    stands = is_sure(confidence, 0.5)
    costs = {name: price * outcome.costs[name] for name, price in USD_PER_MILLION.items()}
    weak, strong = outcome.rewards[WEAK], outcome.rewards[STRONG]
    cost = costs[WEAK] + costs[SECOND] + (0.0 if stands else costs[STRONG])
    return weak if stands else strong, cost, weak, costs[WEAK], strong, costs[STRONG]
