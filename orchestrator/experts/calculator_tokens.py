"""Turns an arithmetic question, in symbols or in English, into tokens; refuses whatever it doesn't know.

    tokenize("What is half of twenty-three?")      # [Token("fraction", 1/2), Token("of"), Token("number", 23)]
    tokenize("What is the capital of France?")     # raises NotArithmetic

Every word has to be understood, so that nothing but arithmetic is taken for it. What the tokens mean is in `calculator.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from orchestrator.experts.number_words import FRACTIONS, literal, ordinal, read_number

MAX_LENGTH = 500


class NotArithmetic(Exception):
    """The question is not arithmetic, is ambiguous, or is too large to be worked out here."""


class Token(NamedTuple):
    """kind: `number`, `fraction` (a number that `of` may follow), or one of the kinds below."""

    kind: str
    value: Fraction = Fraction(0)


_PHRASES = {
    "+": ["+", "plus", "added to", "more than"],
    "-": ["-", "minus", "less", "take away"],
    "*": ["*", "x", "times", "multiplied by"],
    "/": ["/", "over", "divided by"],
    "^": ["^", "**", "to power of", "raised to power of", "raised to power", "raised to"],
    "mod": ["mod", "modulo"],
    "from": ["from"],
    "subtracted from": ["subtracted from", "taken from", "less than", "fewer than"],
    "increased": ["increased by"],
    "decreased": ["decreased by", "reduced by"],
    "percent": ["percent", "per cent"],
    "squared": ["squared"],
    "cubed": ["cubed"],
    "factorial": ["!", "factorial"],
    "dozen": ["dozen"],
    "negative": ["negative"],
    "square root": ["square root of", "square root", "sqrt of", "sqrt", "root of"],
    "cube root": ["cube root of", "cube root", "cbrt"],
    "square": ["square of"],
    "cube": ["cube of"],
    "factorial of": ["factorial of"],
    "absolute": ["absolute value of", "abs"],
    "double": ["double", "twice"],
    "triple": ["triple", "thrice"],
    "remainder": ["remainder of", "remainder when"],
    "sum": ["sum of", "total of"],
    "product": ["product of"],
    "average": ["average of", "mean of"],
    "difference": ["difference of"],
    "distance": ["difference between"],
    "quotient": ["quotient of"],
    "gcd": ["gcd of", "greatest common divisor of", "greatest common factor of"],
    "lcm": ["lcm of", "least common multiple of", "lowest common multiple of"],
    "add": ["add", "add up", "add together"],
    "subtract": ["subtract"],
    "multiply": ["multiply"],
    "divide": ["divide"],
    "increase": ["increase"],
    "decrease": ["decrease", "reduce"],
    **{word: [word] for word in ("(", ")", ",", "and", "of", "to", "by", "is")},
}
_KINDS = {tuple(phrase.split()): kind for kind, phrases in _PHRASES.items() for phrase in phrases}
_LONGEST = max(map(len, _KINDS))
_INFIX = frozenset({"+", "-", "*", "/", "^", "mod", "subtracted from", "increased", "decreased"})

_BEFORE = (
    "please hey hi hello ok so can could would you me i we tell give show help work out find get calculate compute evaluate "
    "solve do what what's whats how much many number is are does will if when value answer result of to : , ."
)
_AFTER = "? . ! = equal equals to make is what please thanks thank you"
_OPENING, _CLOSING = frozenset(_BEFORE.split()), frozenset(_AFTER.split())
_YES_OR_NO = frozenset({"is", "are", "does", "do", "if", "when"})
_SYMBOLS = str.maketrans(
    {
        "−": "-",
        "–": "-",
        "×": "*",
        "·": "*",
        "⋅": "*",
        "÷": "/",
        "√": " sqrt ",
        "²": " squared ",
        "³": " cubed ",
        "’": "'",
    }
)
_DOUBLE_FACTORIAL = re.compile(r"[\d)]\s*!\s*!")
_WORD = re.compile(
    r"\s*(\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,])|\d*\.\d+|\d+(?:st|nd|rd|th)\b|\d+|[a-z]+(?:'[a-z]+)?|\*\*|[-+*/^%!(),=?.:])\s*"
)


def tokenize(question: str) -> list[Token]:
    """The tokens of the arithmetic in a question. Raises `NotArithmetic`."""
    words = _without_framing(_split(question))
    tokens = [*_tokens(words), Token("end")]
    return [token for token, after in pairwise(tokens) if not _idle(token, after)]


def _split(question: str) -> list[str]:
    """Lower-case words, numbers in digits, and symbols; hyphens inside words and `the` are gone."""
    if len(question) > MAX_LENGTH or _DOUBLE_FACTORIAL.search(question):
        raise NotArithmetic("too long or ambiguous")
    text = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", question.lower().translate(_SYMBOLS))
    text = re.sub(r"\bhalf an?\b", "half of a", text)
    words, at = [], 0
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None:
            raise NotArithmetic(f"{text[at]!r} is no arithmetic")
        words.append(match[1])
        at = match.end()
    return [word for word in words if word != "the"]


def _without_framing(words: Sequence[str]) -> Sequence[str]:
    """The words without `what is` before and `equal to?` after them. A yes-or-no question is no arithmetic."""
    first, last = 0, len(words)
    if not words or words[0] in _YES_OR_NO:
        raise NotArithmetic("nothing to work out")
    while last > 0 and words[last - 1] in _CLOSING and not _is_factorial(words, last - 1):
        last -= 1
    while first < last and words[first] in _OPENING:
        first += 1
    return words[first:last]


def _is_factorial(words: Sequence[str], index: int) -> bool:
    """Whether a closing `!` belongs to the number or bracket before it."""
    return words[index] == "!" and index > 0 and (words[index - 1] == ")" or literal(words[index - 1]) is not None)


def _tokens(words: Sequence[str]) -> Iterator[Token]:
    at = 0
    while at < len(words):
        if (power := _ordinal_power(words, at)) is not None:
            exponent, at = power
            yield Token("^")
            yield Token("number", exponent)
        elif (read := read_number(words, at)) is not None:
            value, at = read
            yield Token("fraction" if words[at - 1] in FRACTIONS else "number", value)
        elif words[at] == "%":
            at += 1
            yield Token("mod" if _starts_a_number(words, at) else "percent")
        elif words[at] in ("a", "an") and words[at + 1 : at + 2] == ["dozen"]:
            at += 1
            yield Token("number", Fraction(1))
        else:
            kind, at = _phrase(words, at)
            yield Token(kind)


def _phrase(words: Sequence[str], at: int) -> tuple[str, int]:
    """The kind of the longest known phrase at `at`, and the index after it."""
    for length in range(_LONGEST, 0, -1):
        kind = _KINDS.get(tuple(words[at : at + length]))
        if kind is not None and at + length <= len(words):
            return kind, at + length
    raise NotArithmetic(f"{words[at]!r} is no arithmetic")


def _ordinal_power(words: Sequence[str], at: int) -> tuple[Fraction, int] | None:
    """`to the fourth power` and `raised to the 10th power`, as the exponent and the index after it."""
    at += words[at] == "raised"
    if list(words[at : at + 1]) == ["to"] and list(words[at + 2 : at + 3]) == ["power"]:
        exponent = ordinal(words[at + 1])
        return None if exponent is None else (Fraction(exponent), at + 3)
    return None


def _starts_a_number(words: Sequence[str], at: int) -> bool:
    return at < len(words) and (words[at] == "(" or read_number(words, at) is not None)


def _idle(token: Token, after: Token) -> bool:
    """A comma before an operator says nothing: `the sum of 3 and 4, divided by 7`."""
    return token.kind == "," and after.kind in _INFIX
