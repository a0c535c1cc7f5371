"""The lettered options that a question ends in, and the same question with them in another order.

    question = read_choices("Which is a fruit?\nA. brick\nB. pear\nAnswer:")
    question.options                          # ('brick', 'pear')
    question.ordered((1, 0))                  # 'Which is a fruit?\nA. pear\nB. brick\nAnswer:'

Options stand one a line (`A.`, `A)`, `(A)` or `A:`), or in a row (`A)` or `(A)`). Not here: which option an answer picks
(`orchestrator/labelling/choice.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

_MARK = re.compile(r"(?:(?:^|(?<=\n))[ \t]*(?:\(([A-Z])\)|([A-Z])[.):])|(?<=\s)(?:\(([A-Z])\)|([A-Z])\)))[ \t]+(?=\S)")
_ASKS = re.compile(r"\?|\b(?:which|choose|select|pick|options?|answer|following)\b", re.IGNORECASE)
_ASKS_FOR_A_TEXT = re.compile(
    r"(?:^|[.!?:][ \t]+|\n[ \t]*)(?:(?:please|now|can you|could you)\s+)?(?:summari[sz]e|translate|rewrite|rephrase|tidy|edit"
    r"|proofread|fix|format|convert|sort|describe|expand|shorten|write|draft|turn|improve|compare|discuss|outline|explain|comment)\b",
    re.IGNORECASE,
)
FEW = 2
"""Two lettered lines are a list more often than options, unless something asks for a choice."""


@dataclass(frozen=True, slots=True)
class Choices:
    """A question in pieces. between: what stands before each option, its letter included. tail: what follows the last one."""

    between: tuple[str, ...]
    options: tuple[str, ...]
    tail: str

    def ordered(self, order: Sequence[int]) -> str:
        """The question with the option `order[i]` in place `i`, under that place's letter."""
        options = (self.options[place] for place in order)
        return "".join(part for pair in zip(self.between, options, strict=True) for part in pair) + self.tail


def read_choices(question: str) -> Choices | None:
    """The options A, B, ... of a question that asks to choose among them; None when it does not."""
    marks = _in_order(question)
    if len(marks) < FEW or not _asks_to_choose(question[: marks[0].start()], len(marks)):
        return None
    starts = [mark.end() for mark in marks]
    last = question.find("\n", starts[-1])
    ends = [mark.start() for mark in marks[1:]] + [len(question) if last < 0 else last]
    options, between, at = [], [], 0
    for start, end in zip(starts, ends, strict=True):
        option = question[start:end].rstrip()
        options.append(option)
        between.append(question[at:start])
        at = start + len(option)
    return Choices(tuple(between), tuple(options), question[at:])


def _asks_to_choose(stem: str, num_options: int) -> bool:
    return not _ASKS_FOR_A_TEXT.search(stem) and (num_options > FEW or _ASKS.search(stem) is not None)


def _in_order(question: str) -> list[re.Match[str]]:
    """The marks of the last list that begins with A and goes on without a gap."""
    marks: list[re.Match[str]] = []
    for mark in _MARK.finditer(question):
        letter = next(filter(None, mark.groups()))
        if letter == ascii_uppercase[len(marks) % 26]:
            marks.append(mark)
        elif letter == "A":
            marks = [mark]
    return marks
