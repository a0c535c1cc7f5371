"""Integers in English words, written independently of the reader under test."""

from __future__ import annotations

SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SCALES = ("", "thousand", "million", "billion", "trillion")


def spell(number: int, *, with_and: bool = False) -> str:
    """0 up to 10**15 - 1, as in `two hundred and five` or `two hundred five`, hyphens included."""
    if number < 20:
        return SMALL[number]
    if number < 100:
        return TENS[number // 10] + (f"-{SMALL[number % 10]}" if number % 10 else "")
    joint = " and " if with_and else " "
    if number < 1000:
        rest = f"{joint}{spell(number % 100)}" if number % 100 else ""
        return f"{SMALL[number // 100]} hundred{rest}"
    power = (len(str(number)) - 1) // 3
    head, rest_number = divmod(number, 1000**power)
    joint = joint if rest_number < 100 else " "
    rest = f"{joint}{spell(rest_number, with_and=with_and)}" if rest_number else ""
    return f"{spell(head, with_and=with_and)} {SCALES[power]}{rest}"
