"""Logs of decisions for tests of off-policy evaluation: by hand, or drawn from a world with two topics.

log = log_of(("a", 1.0, {"a": 0.9, "b": 0.1}), ("b", None, {"a": 0.9, "b": 0.1}))
log = two_topics(2_000)
"""

import numpy as np

from evals.offpolicy.logs import Log
from orchestrator.ledger.base import Routed

GOOD, BAD = 0.8, 0.4
"""Chances of success of the topic's own expert, and of the other."""


def log_of(*decisions):
    """decisions: expert, reward or None, propensities by expert, and perhaps what it cost in USD."""
    return Log.of(
        Routed(f"question {i}", expert, reward, *(cost or (0.0,)), propensities)
        for i, (expert, reward, propensities, *cost) in enumerate(decisions)
    )


def two_topics(n, *, first=0.5, feedback=(1.0, 1.0), seed=0):
    """`a` is good at even questions and `b` at odd ones; the live policy doesn't know, and takes `a` with probability `first`.

    feedback: how often answers of `a` and of `b` get any.
    """
    dice = np.random.default_rng(seed)
    decisions = []
    for i in range(n):
        expert = "a" if dice.random() < first else "b"
        reward = float(dice.random() < (GOOD if (i % 2 == 0) == (expert == "a") else BAD))
        seen = dice.random() < feedback["ab".index(expert)]
        decisions.append((expert, reward if seen else None, {"a": first, "b": 1 - first}))
    return log_of(*decisions)


def knowing(n):
    """Scores of a candidate that knows the topics, `(n, 2)`."""
    even = np.arange(n) % 2 == 0
    return np.where(np.stack([even, ~even], axis=1), 0.9, 0.1)
