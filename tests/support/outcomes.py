"""Outcomes with a known structure: sums are the calculator's, chats the poet's, and the poet is the best single expert."""

import numpy as np

from routers.base import Outcome

WORDS = ("cats", "rain", "the sea", "my aunt", "a train", "winter", "an old king", "music", "bread", "the moon")
KINDS = ("joke", "story", "poem", "song", "letter", "riddle")
SUMS = [f"What is {a} {sign} {b}?" for a in range(3, 10) for b in range(3, 10) for sign in "+*"]
CHATS = [f"Tell me a {kind} about {what} and {other}" for kind in KINDS for what in WORDS for other in WORDS[:3]]


def specialists(**columns):
    """Every expert on every query, rewards 0.9 and 0.2 the right and wrong way round. columns: more fields of every outcome."""
    sums = [Outcome(query, {"calculator": 0.9, "poet": 0.2}, group="sums", **columns) for query in SUMS]
    return sums + [Outcome(query, {"calculator": 0.2, "poet": 0.9}, group="chats", **columns) for query in CHATS]


def noise(n=300, seed=0):
    """Rewards that have nothing to do with the query; `a` is better by 0.2."""
    dice = np.random.default_rng(seed)
    for i in range(n):
        yield Outcome(
            f"question {dice.integers(10**9)} number {i}", {"a": dice.random() * 0.5 + 0.2, "b": dice.random() * 0.5}
        )
