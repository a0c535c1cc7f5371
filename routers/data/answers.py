"""What an answer concludes in, so written that equal conclusions are equal: `final_answer("The answer is 42.") == "42"`.

    final_answer("$18") == final_answer("18 dollars") == final_answer("x = 18.0")
    final_answer(r"\\boxed{\\frac{1}{2}}") == final_answer("1/2") == final_answer("0.5")

A number, a letter, a formula, a value as code writes it (which keeps its case and its marks) or a few words (which don't); a text
that ends in none of these is equal only to the same text. Not here: whether an answer is right (`orchestrator/labelling/`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

MAX_SHORT_WORDS = 8
MAX_SHORT_CHARS = 200

_MARKED = (
    re.compile(r"\\boxed\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})+)\}"),
    re.compile(r"####\s*(.+)"),
    re.compile(r"\banswer\b[^.:=\n]{0,40}?(?:\bis\b|[:=])[\s:*]*(.+?)(?=\.\s|$)", re.IGNORECASE | re.MULTILINE),
)
_LETTER = re.compile(r"(?:option|choice)?\s*\(?([a-z])(?:\)|[.:](?=\s)|$)", re.IGNORECASE)
_UNIT = r"(?:kgs?|g|[ckm]?m|ml|lbs?|oz|ft|mph|st|nd|rd|th|[ap]m)\b"
"""What is written against a number without a space."""
_NUMBER = re.compile(rf"(?<![\w.,/])-?\$?(?:\d+/[1-9]\d*|\d[\d,]*(?:\.\d+)?|\.\d+)(?:{_UNIT}|(?![\w/]))")
_NO_NUMBER = re.compile(r"[^A-Za-z\s$€£%°=.,:]|(?<!\w)[a-zA-Z]\s+[a-zA-Z](?!\w)")
"""What stands beside a number that is only a part of the answer."""
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"", re.DOTALL)
_LEADING_ZERO = re.compile(r"(?<![\d.,])0\d")
_CODE = re.compile(r"[\[\]{}'\"<>;_|\\*]|\d[A-Za-z]|[A-Za-z]\d|[a-z][A-Z]|\(.*\)|^\W+$")
"""What prose has not and values of code have."""
_MATHS = re.compile(
    r"\\(?:[dt]?frac|sqrt|pi|c?dot|times|text|left|infty|pm|cup|theta|circ|log|ln|sin|cos|tan|binom|[lg]eq?)(?![a-z])|[√π^]"
    r"|sqrt\(|\bpi\b"
)
_FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_ROOT = re.compile(r"\\?sqrt\s*(?:\{([^{}]*)\}|\(([^()]*)\)|(\w))|√\s*(?:\{([^{}]*)\}|\(([^()]*)\)|(\w+))")
_DRESS = re.compile(
    r"\\(?:left|right|displaystyle|[,;:! ])|\\(?:text|mathrm|mbox)\s*\{[^{}]*\}|\^\{?\\circ\}?|\\?[$%]|°|~"
)


def final_answer(text: str) -> str:
    """What a text concludes in: a number, a letter, a formula, a value, a few words, or all of it."""
    whole = conclusion(text)
    said = _plain_maths(whole.strip(" \t*_`\"'.,;:!"))
    if not _is_short(said):
        return " ".join(said.split())
    if letter := _LETTER.match(said):
        return letter[1].lower()
    if (number := _only_number(said)) is not None:
        return str(number)
    if _MATHS.search(said):
        return re.sub(r"\\(?=[a-z])|[\s{}*$]", "", re.sub(r"\\c?dot\b|\\times\b", "", said)).lower()
    if _CODE.search(said) or _LEADING_ZERO.search(said):
        return _unquoted(whole.strip(" \t\n`"))
    words = re.findall(r"\w+", said.casefold())
    return " ".join(word for word in words if word not in ("a", "an", "the"))


def final_answers(texts: Sequence[str | None]) -> list[str | None]:
    """What answers to one question conclude in; None for one that says nothing.

    Where one of them is quoted as code quotes text, all are taken to the letter: `'CW'` is `CW` and not `cw`.
    """
    said = [text if text and text.strip() else None for text in texts]
    if any(text and _QUOTED.fullmatch(text.strip()) for text in said):
        return [text and _to_the_letter(text) for text in said]
    return [text and (final_answer(text) or text.strip()) for text in said]


def conclusion(text: str) -> str:
    """What is marked as the answer, last mark first; else the last line, if it is short; else the whole text."""
    for mark in _MARKED:
        if found := mark.findall(text):
            return str(found[-1])
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines and _is_short(lines[-1]) else text.strip()


def _only_number(said: str) -> Fraction | None:
    """The number that a short text holds beside words, units and an equals sign; None where there is more to it."""
    numbers = _NUMBER.findall(said)
    if len(numbers) != 1 or _LEADING_ZERO.search(said) or _NO_NUMBER.search(_NUMBER.sub(" ", said)):
        return None
    return Fraction(re.sub(r"[^\d./-]", "", numbers[0]))


def _plain_maths(said: str) -> str:
    """LaTeX's fractions and roots as they are typed, without what only dresses them."""
    said = said.replace("\\\\", "\\") if _MATHS.search(said) else said
    said = _ROOT.sub(lambda m: f"sqrt({next(filter(None, m.groups()), '')})", said)
    if "\\" in said:
        said = _DRESS.sub("", said).strip()
        said = _FRACTION.sub(lambda m: f"{_grouped(m[1] or m[2])}/{_grouped(m[3] or m[4])}", said)
    return said


def _grouped(part: str | None) -> str:
    part = (part or "").strip()
    return part if re.fullmatch(r"\w+|sqrt\(\w+\)", part) else f"({part})"


def _to_the_letter(text: str) -> str:
    """A short value without its quotes, an empty one with them; a number as ever; a longer text's conclusion."""
    if not _is_short(text):
        return final_answer(text) or text.strip()
    value = _unquoted(text.strip() if _QUOTED.fullmatch(text.strip()) else text)
    return final_answer(value) if _NUMBER.fullmatch(value) else value.replace("\\n", "\n") or "''"


def _unquoted(value: str) -> str:
    """A value without the quotes around all of it."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def _is_short(text: str) -> bool:
    return len(text) <= MAX_SHORT_CHARS and len(text.split()) <= MAX_SHORT_WORDS
