"""Reads numbers as English writes them: cardinals, decimals, fractions, mixed numbers, digits with a scale.

    read_number(["two", "hundred", "and", "five", "times"])        # (Fraction(205), 4)
    read_number(["three", "quarters", "of"])                       # (Fraction(3, 4), 2)
    read_number(["2.5", "million"])                                # (Fraction(2500000), 2)

Words are lower-case and without hyphens. Where "and" could join two numbers or one ("a hundred and five"), it is one; years
("nineteen ninety") and digits said one by one are no numbers here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SCALES = "thousand million billion trillion quadrillion"
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth"

SMALL = {word: value for value, word in enumerate(_UNITS.split())}
TENS = {word: 10 * value for value, word in enumerate(_TENS.split(), start=2)}
SCALES = {word: 1000**power for power, word in enumerate(_SCALES.split(), start=1)}
ORDINALS = {word: value for value, word in enumerate(_ORDINALS.split(), start=1)}
FRACTIONS = {"half": 2, "halves": 2, "quarter": 4, "quarters": 4} | {
    word + plural: value
    for word, value in {**ORDINALS, "hundredth": 100, "thousandth": 1000}.items()
    for plural in ("", "s")
    if value > 2
}

_LITERAL = re.compile(r"(?:0|[1-9]\d*|[1-9]\d{0,2}(?:,\d{3})+)?(?:\.\d+)?")

Read = tuple[Fraction, int]


def read_number(words: Sequence[str], start: int = 0) -> Read | None:
    """The number that begins at `words[start]`, and the index after it; None when none begins there."""
    read = _read_fraction(words, start)
    if read is None:
        read = _read_decimal(words, start)
        if read is None:
            return None
        read = _with_fraction(words, *read)
    value, end = read
    while (scale := SCALES.get(_at(words, end), 100 if _at(words, end) == "hundred" else None)) is not None:
        value, end = value * scale, end + 1
    return value, end


def literal(word: str) -> Fraction | None:
    """A number in digits: `7`, `1,234.5`, `.5`; None for other words, and for codes such as `007`."""
    return Fraction(word.replace(",", "")) if word and _LITERAL.fullmatch(word) else None


def ordinal(word: str) -> int | None:
    """`third` and `3rd` as 3."""
    digits = re.fullmatch(r"(\d{1,6})(?:st|nd|rd|th)", word)
    return int(digits[1]) if digits else ORDINALS.get(word)


def _read_fraction(words: Sequence[str], start: int) -> Read | None:
    """`half`, `a third`, `three quarters`."""
    if (divisor := FRACTIONS.get(_at(words, start))) is not None:
        return Fraction(1, divisor), start + 1
    if _at(words, start) in ("a", "an") and (divisor := FRACTIONS.get(_at(words, start + 1))) is not None:
        return Fraction(1, divisor), start + 2
    read = _read_decimal(words, start)
    if read is not None and (divisor := FRACTIONS.get(_at(words, read[1]))) is not None:
        return read[0] / divisor, read[1] + 1
    return None


def _with_fraction(words: Sequence[str], value: Fraction, end: int) -> Read:
    """`five` in `five and a half` as 5 1/2; but not in `five and half of six`."""
    if value.denominator == 1 and _at(words, end) == "and":
        fraction = _read_fraction(words, end + 1)
        if fraction is not None and fraction[0] < 1 and _at(words, fraction[1]) != "of":
            return value + fraction[0], fraction[1]
    return value, end


def _read_decimal(words: Sequence[str], start: int) -> Read | None:
    """`three`, `three point one four`, `point five`, `3.14`."""
    if (digits := literal(_at(words, start))) is not None:
        return digits, start + 1
    read = _read_cardinal(words, start)
    if read is None and _at(words, start) != "point":
        return None
    value, end = read or (Fraction(0), start)
    if _at(words, end) != "point" or SMALL.get(_at(words, end + 1), 10) > 9:
        return read
    end += 1
    place = Fraction(1, 10)
    while (digit := SMALL.get(_at(words, end), 10)) < 10:
        value, place, end = value + digit * place, place / 10, end + 1
    return value, end


def _read_cardinal(words: Sequence[str], start: int) -> Read | None:
    """Groups below a thousand, each but the last with a scale smaller than that of the group before."""
    read = _below_thousand(words, start)
    if read is None:
        return None
    total, (group, end) = 0, read
    limit = None
    while (scale := SCALES.get(_at(words, end))) is not None and (limit is None or scale < limit):
        total, end, limit, group = total + group * scale, end + 1, scale, 0
        following = _below_thousand(words, end + (_at(words, end) == "and"), article=False)
        if following is None or SCALES.get(_at(words, following[1]), 0) >= scale:
            break
        group, end = following
    return Fraction(total + group), end


def _below_thousand(words: Sequence[str], start: int, *, article: bool = True) -> tuple[int, int] | None:
    """`a hundred and five`, `seventeen hundred`, `forty two`. article: whether `a` may stand for one."""
    following = _at(words, start + 1)
    if article and _at(words, start) in ("a", "an") and (following in SCALES or following == "hundred"):
        value, end = 1, start + 1
    elif (read := _below_hundred(words, start)) is not None:
        value, end = read
    else:
        return None
    if _at(words, end) != "hundred":
        return value, end
    value, end = value * 100, end + 1
    rest = _below_hundred(words, end + (_at(words, end) == "and"))
    if rest is None or _at(words, rest[1]) == "hundred":
        return value, end
    return value + rest[0], rest[1]


def _below_hundred(words: Sequence[str], start: int) -> tuple[int, int] | None:
    word = _at(words, start)
    if word in TENS:
        unit = SMALL.get(_at(words, start + 1), 0)
        return (TENS[word] + unit, start + 2) if 0 < unit < 10 else (TENS[word], start + 1)
    return (SMALL[word], start + 1) if word in SMALL else None


def _at(words: Sequence[str], index: int) -> str:
    return words[index] if index < len(words) else ""
