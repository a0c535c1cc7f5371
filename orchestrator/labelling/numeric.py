"""The reward `numeric`: the number that an answer ends in is the target.

    {"query": "What is 17 * 23?", "target": "391"}                        # "17 * 23 = 391" and "#### 391.0" earn 1

The number is the last one of the conclusion (`\\boxed{}`, `####`, "the answer is"), or else of the whole answer. Thousands' commas,
fractions (3/4), exponents and currency signs are read; "15%" is 15. Equal means within a millionth. Not here: units, and words
for numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from orchestrator.labelling.base import Tools, needs_target
from orchestrator.labelling.queries import Item
from routers.data.answers import conclusion

RELATIVE_TOLERANCE = 1e-6
_NUMBER = re.compile(
    r"(?<![\w.])[-+−]?[$€£]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{1,3}\b)?(?:\s?/\s?[1-9]\d*(?![\d.]))?"
)


async def make(argument: str, tools: Tools) -> NumericGrader:
    return NumericGrader()


class NumericGrader:
    judged = False

    def check(self, item: Item) -> None:
        target = needs_target(item, "numeric")
        if last_number(target) is None:
            raise ValueError(f"field 'target': expected a number, got '{target}'")

    async def grade(self, item: Item, answers: Mapping[str, str | None]) -> dict[str, float]:
        wanted = last_number(needs_target(item, "numeric"))
        assert wanted is not None, "it was checked"
        return {expert: float(_is(concluding_number(text or ""), wanted)) for expert, text in answers.items()}


def _is(number: float | None, wanted: float) -> bool:
    return number is not None and math.isclose(number, wanted, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-9)


def concluding_number(text: str) -> float | None:
    """The last number of a text's conclusion, or else of the text."""
    number = last_number(conclusion(text))
    return last_number(text) if number is None else number


def last_number(text: str) -> float | None:
    """The last number of `text` that a float can hold; None without one."""
    numbers = (_value(match) for match in reversed(_NUMBER.findall(text)))
    return next((number for number in numbers if math.isfinite(number)), None)


def _value(written: str) -> float:
    numerator, _, denominator = re.sub(r"[$€£,\s]", "", written.replace("−", "-")).partition("/")
    return float(numerator) / float(denominator or 1)
