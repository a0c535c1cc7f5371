"""How sure an expert is of its own answer, 0..1, from what it wrote: pure functions over log-probabilities and answers.

    mean_probability([-0.1, -0.2])                              # 0.86: of the tokens it chose
    concentration([[-0.1, -2.5], [-0.7, -0.7]])                 # 0.41: of its predictions, whatever it chose
    agreement(["42", "42", "41"])                               # 0.5: the other samples that conclude as the first
    yes_share([("Yes", -0.3), ("No", -1.6)])                    # 0.79: of an answer to "is this right?"

A confidence ranks one expert's answers; only an expert's own threshold (`routers/cascade.py`) gives it a meaning. Not here: asking.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

SAMPLE_TEMPERATURE = 0.7
"""At which samples are drawn whose `agreement` with an answer is asked for."""


def mean_probability(logprobs: Sequence[float]) -> float | None:
    """The geometric mean of the tokens' probabilities, so that long answers are not less sure. None without tokens.

    logprobs: natural logarithms, at most 0.
    """
    return math.exp(min(0.0, float(np.mean(logprobs)))) if len(logprobs) else None


def concentration(alternatives: Sequence[Sequence[float]]) -> float | None:
    """How little each prediction is spread: 1 less its entropy, in parts of the largest there could be; the mean over tokens.

    The dispersion of Mixture of Weak & Strong Experts (arXiv 2311.05185), whose weak expert is trusted where its prediction is
    far from uniform. alternatives: per token the log-probabilities of the likeliest ones; what they leave is one more. None
    without tokens.
    """
    spreads = []
    for logprobs in alternatives:
        known = np.exp(np.minimum(np.asarray(logprobs, dtype=np.float64), 0.0))
        shares = np.append(known, max(0.0, 1.0 - known.sum()))
        shares = shares[shares > 0] / shares.sum()
        spreads.append(-(shares * np.log(shares)).sum() / math.log(len(known) + 1))
    return float(1.0 - np.mean(spreads)) if spreads else None


def agreement(conclusions: Sequence[str]) -> float | None:
    """The share of the others that equal the first (self-consistency, arXiv 2203.11171). None without others."""
    first, *others = conclusions or ("",)
    return sum(other == first for other in others) / len(others) if others else None


def yes_share(alternatives: Sequence[tuple[str, float]]) -> float | None:
    """`P(yes) / (P(yes) + P(no))`, by the first token's alternatives with their log-probabilities. None where neither is one.

    As a self-check: AutoMix (arXiv 2310.12963), and P(True) of Kadavath et al. 2022 (arXiv 2207.05221).
    """
    yes, no = (
        sum(math.exp(logprob) for token, logprob in alternatives if token.strip().casefold() == word)
        for word in ("yes", "no")
    )
    return yes / (yes + no) if yes + no > 0 else None
