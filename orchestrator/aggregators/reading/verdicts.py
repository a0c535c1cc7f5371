"""Which of some options an expert chose, by the first token it gave probabilities for, or by what it said.

    shares({"A": -0.1, " B": -2.4}, ["A", "B"])             # {'A': 0.91, 'B': 0.09}

Not here: asking (`Table.choose`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def shares(alternatives: Mapping[str, float], options: Sequence[str]) -> dict[str, float]:
    """The probability of each option among them, by the log-probabilities of what was said; empty when none of them was."""
    found = dict.fromkeys(options, 0.0)
    for said, logprob in alternatives.items():
        word = said.strip(" \t\n*_`\"'.,:;()[]{}").casefold()
        for option in options:
            if word == option.casefold() or _opens_with(word, option.casefold()):
                found[option] += math.exp(logprob)
    total = sum(found.values())
    return {option: share / total for option, share in found.items()} if total else {}


def _opens_with(said: str, option: str) -> bool:
    """Whether a sentence begins with an option; "a judge can't say" is none for A."""
    first, _, rest = said.partition(" ")
    word = first.rstrip("*_`\"'.,:;()[]{}")
    return word == option and (len(option) > 1 or word != first or rest.startswith(("is ", "because ", "since ")))
