"""Noise that leaves a question's meaning as it is, and how often a router changes its mind over it.

    noised = [NOISES["typos"](query, 0) for query in queries]
    flip_rate(choose(router.predict(queries)), choose(router.predict(noised)))

The same text and seed give the same noise on every machine. It is by rules, of no language in particular. Not here: paraphrases,
which need a model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from random import Random

from routers.data.splits import query_hash
from routers.training.evaluation import Choice

TYPO_SHARE = 0.1
"""Of the words of four letters or more, at least one."""

PREFIXES = (
    "Hi! ",
    "Please help me with this: ",
    "I have a question. ",
    "Could you answer the following?\n\n",
    "Quick question: ",
)

_WORD = re.compile(r"[^\W\d_]{4,}")
_CHOICE = re.compile(r"^[ \t]*[(\[]?[A-Za-z0-9][)\].:][ \t]", re.MULTILINE)
_SENTENCE_END = re.compile(r"((?<=[.!?。！？])\s+|\n+)")


def typos(text: str, seed: int) -> str:
    """Letters of some words swapped, left out or doubled, never the first one; numbers and signs stay."""
    dice = _dice(text, seed)
    words = list(_WORD.finditer(text))
    for word in sorted(
        dice.sample(words, round(TYPO_SHARE * len(words)) or min(1, len(words))), key=_start, reverse=True
    ):
        text = text[: word.start()] + _misspelt(word.group(), dice) + text[word.end() :]
    return text


def case(text: str, seed: int) -> str:
    """Everything in small letters, or everything in capitals."""
    first, second = _dice(text, seed).sample((text.lower(), text.upper()), 2)
    return first if first != text else second


def prefix(text: str, seed: int) -> str:
    """A phrase of politeness before the text."""
    return _dice(text, seed).choice(PREFIXES) + text


def reorder(text: str, seed: int) -> str:
    """The sentences and lines before the first of the choices in another order; a text of a single one stays as it is."""
    choices = _CHOICE.search(text)
    end = choices.start() if choices else len(text)
    stem = text[:end].rstrip()
    parts = _SENTENCE_END.split(stem)
    sentences = parts[::2]
    order = list(range(len(sentences)))
    _dice(text, seed).shuffle(order)
    if order == sorted(order):
        order = [*order[1:], *order[:1]]
    parts[::2] = [sentences[i] for i in order]
    return "".join(parts) + text[len(stem) :]


NOISES: Mapping[str, Callable[[str, int], str]] = {
    "typos": typos,
    "case": case,
    "prefix": prefix,
    "reorder": reorder,
}
"""Kinds of noise: `(text, seed) -> text`."""


def flip_rate(before: Choice, after: Choice) -> float:
    """The share of queries whose choice changed, `(n_queries,)` each."""
    return float((before != after).mean())


def _dice(text: str, seed: int) -> Random:
    return Random(query_hash(text, seed))


def _start(word: re.Match[str]) -> int:
    return word.start()


def _misspelt(word: str, dice: Random) -> str:
    """Two letters after the first are swapped, or one is left out or doubled."""
    place = dice.randrange(1, len(word) - 1)
    before, letter, following, after = word[:place], word[place], word[place + 1], word[place + 2 :]
    return dice.choice(
        (
            before + following + letter + after,
            before + following + after,
            before + letter + letter + following + after,
        )
    )
