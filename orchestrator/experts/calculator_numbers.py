"""Exact arithmetic on fractions, within bounds, and how results are written.

power(Fraction(2), Fraction(10))             # Fraction(1024)
power(Fraction(9), Fraction(9**9))           # raises NotArithmetic: too large to be worked out here
format_number(Fraction(5, 12))               # '5/12 (about 0.4166666667)'
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Context, Decimal
from fractions import Fraction

from orchestrator.experts.calculator_tokens import NotArithmetic

MAX_BITS = 4096
"""Of every numerator and denominator: about 1,200 digits, worked out and written in under a millisecond."""
SIGNIFICANT_DIGITS = 10
_ROOT_DIGITS = 30


def bounded(value: Fraction) -> Fraction:
    """The value itself; raises `NotArithmetic` when it is larger than `MAX_BITS`."""
    if _bits(value) > MAX_BITS:
        raise NotArithmetic("too large")
    return value


def power(base: Fraction, exponent: Fraction) -> Fraction:
    """Raises `NotArithmetic` for a fractional exponent, for 0 to the power of 0, and before anything large is computed."""
    if exponent.denominator != 1 or base == exponent == 0:
        raise NotArithmetic("not a power of whole exponent")
    if abs(base) not in (0, 1) and abs(exponent) * (_bits(base) - 1) > MAX_BITS:
        raise NotArithmetic("too large")
    return base**exponent.numerator


def factorial(value: Fraction) -> Fraction:
    if value.denominator != 1 or not 0 <= value <= MAX_BITS:
        raise NotArithmetic("no factorial worked out here")
    return Fraction(math.factorial(value.numerator))


def root(value: Fraction, degree: int) -> tuple[Fraction, bool]:
    """The real root, and whether it is exact; if not, at least 30 digits after the point are right."""
    if value < 0 and degree % 2 == 0:
        raise NotArithmetic("no real root")
    numerator, denominator = (_integer_root(abs(part), degree) for part in value.as_integer_ratio())
    found = Fraction(numerator, denominator)
    exact = found**degree == abs(value)
    if not exact:
        scale = 10 ** (_ROOT_DIGITS + value.denominator.bit_length() // 3)
        found = Fraction(_integer_root(abs(value.numerator) * scale**degree // value.denominator, degree), scale)
    return (-found if value < 0 else found), exact


def gcd(values: Sequence[Fraction]) -> Fraction:
    return Fraction(math.gcd(*map(_integer, values)))


def lcm(values: Sequence[Fraction]) -> Fraction:
    return Fraction(math.lcm(*map(_integer, values)))


def format_number(value: Fraction, *, exact: bool = True) -> str:
    """Integers and terminating decimals in full; other fractions as such, and rounded; what is not exact, rounded."""
    if not exact:
        return f"about {_rounded(value)}"
    if value.denominator == 1:
        return str(value.numerator)
    places = _decimal_places(value.denominator)
    if places is None:
        return f"{value.numerator}/{value.denominator} (about {_rounded(value)})"
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def _decimal_places(denominator: int) -> int | None:
    """How many places a decimal of this denominator has; None when it never ends."""
    twos = (denominator & -denominator).bit_length() - 1
    fives, rest = 0, denominator >> twos
    while rest % 5 == 0:
        fives, rest = fives + 1, rest // 5
    return max(twos, fives) if rest == 1 else None


def _rounded(value: Fraction) -> str:
    """To ten significant digits; with an exponent where plain digits would be mostly zeros."""
    context = Context(prec=SIGNIFICANT_DIGITS)
    decimal = context.divide(Decimal(value.numerator), Decimal(value.denominator)).normalize(context)
    return format(decimal, "f") if -7 < decimal.adjusted() < 16 else str(decimal)


def _integer_root(number: int, degree: int) -> int:
    """The largest integer whose power is not above `number`, by Newton's method from above."""
    if number < 2:
        return number
    guess = 1 << -(-number.bit_length() // degree)
    while (better := ((degree - 1) * guess + number // guess ** (degree - 1)) // degree) < guess:
        guess = better
    return guess


def _integer(value: Fraction) -> int:
    if value.denominator != 1:
        raise NotArithmetic("not an integer")
    return value.numerator


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())
