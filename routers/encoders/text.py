"""What can be seen of a text without reading it: how long it is, what it is written in, whether it asks, computes or chooses.

    TextFeatures().encode(["What is 17 * 23?"])          # (1, 38) float32, rows of length 1

Each feature is a count (its logarithm) or a share of the characters, standardised by constants that are part of this file, so
that a vector never depends on what else is encoded. A constant 1 comes first: the length of 1 would hide how unusual a text is.
About 0.7 microseconds a character. Joined with an encoder of meaning or spelling (`joined.py`) it adds what those don't see.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from routers.base import FloatArray

MAX_CHARACTERS = 2048
LIMIT = 3.0
"""Standard deviations beyond which a feature counts as this far off."""

_CLASSES = {
    "lower": string.ascii_lowercase,
    "upper": string.ascii_uppercase,
    "digit": string.digits,
    "symbol": "{}[]()<>_;`|&#@",
    "operator": "+-*/=^%$\\~",
    "mark": ".,:!?\"'",
}
_CLASS_OF = np.zeros(128, dtype=np.intp)
for _number, _members in enumerate(_CLASSES.values(), start=1):
    _CLASS_OF[[ord(character) for character in _members]] = _number

_SCRIPTS = {
    "latin_beyond_ascii": (0x80, 0x250),
    "greek": (0x370, 0x400),
    "cyrillic": (0x400, 0x530),
    "hebrew_or_arabic": (0x590, 0x780),
    "indic_or_thai": (0x900, 0x1100),
    "kana": (0x3040, 0x3100),
    "han": (0x3400, 0xA000),
    "hangul": (0xAC00, 0xD7B0),
    "pictographs": (0x2190, 0x2C00),
    "emoji": (0x1F000, 0x20000),
}

_PATTERNS = {
    "numbers": r"\d+(?:[.,]\d+)*",
    "question_marks": r"[?？]",
    "choices": r"(?m)^[ \t]*\(?[A-J1-9][.):]\s",
    "blanks": r"_{2,}|\[MASK\]|\.{3,}",
    "bullets": r"(?m)^[ \t]*[-*•]\s",
    "code": r"(?m)```|\b(?:def|class|return|import|function|const|void|public|SELECT|elif)\b|\w\(\)|[=!]=|;[ \t]*$",
    "latex": r"\\[a-zA-Z]+|\$[^$]+\$",
    "links": r"https?://|www\.",
    "quotes": r"[\"“”«»]",
    "questions_of_fact": r"(?i)\b(?:who|whom|whose|where|when|which)\b",
    "questions_of_reason": r"(?i)\b(?:why|how)\b",
    "questions_of_amount": r"(?i)\bhow (?:many|much|long|far|old)\b|\b(?:total|sum|average|percent|per|each|cost)\b",
    "orders_to_write": r"(?i)\b(?:write|compose|draft|rewrite|summari[sz]e|translate|describe|list|create|generate)\b",
    "orders_to_solve": r"(?i)\b(?:calculate|compute|solve|prove|find|evaluate|determine|simplify|derive)\b",
    "words_of_reason": r"(?i)\b(?:if|then|because|therefore|suppose|assume|let|given|such that|not|except)\b",
    "first_and_second_person": r"(?i)\b(?:i|my|me|we|our|you|your)\b",
    "names": r"(?<=[a-z,] )[A-Z][a-z]+",
    "following": r"(?i)\bfollowing\b|\boptions?\b|\bchoose\b|\btrue\b|\bfalse\b",
}
_COMPILED = tuple(re.compile(pattern) for pattern in _PATTERNS.values())

FEATURES = ("characters", "words", "lines", "word_length", *_CLASSES, *_SCRIPTS, *_PATTERNS)
# fmt: off
MEANS = (
    5.46, 3.73, 1.28, 1.77,
    0.74, 0.18, 0.11, 0.04, 0.06, 0.18,
    0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.08, 0.00, 0.00, 0.00,
    1.02, 0.41, 1.08, 0.02, 0.01, 0.12, 0.21, 0.00, 0.14,
    0.34, 0.14, 0.26, 0.05, 0.09, 0.40, 0.35, 0.45, 0.12,
)
DEVIATIONS = (
    1.03, 1.01, 1.04, 0.23,
    0.26, 0.08, 0.14, 0.09, 0.09, 0.07,
    0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.25, 0.05, 0.05, 0.05,
    1.18, 0.37, 1.05, 0.13, 0.14, 0.40, 0.58, 0.10, 0.50,
    0.50, 0.29, 0.50, 0.21, 0.25, 0.60, 0.55, 0.78, 0.35,
)
# fmt: on
"""Of 4,718 questions of public benchmarks (general knowledge, mathematics, code, Chinese examinations); at least 0.05 or 0.1."""


class TextFeatures:
    """No parameters, no files, no state."""

    dimensions = len(FEATURES) + 1
    fingerprint = "text-1"

    @classmethod
    def of(cls, fingerprint: str) -> Self | None:
        """The encoder with this fingerprint, or None when it is another kind's or another version's."""
        return cls() if fingerprint == cls.fingerprint else None

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Shape `(len(texts), dimensions)`, rows of length 1. Thread-safe."""
        raw = np.array([features(text) for text in texts], dtype=np.float64).reshape(len(texts), len(FEATURES))
        standard = np.clip((raw - np.array(MEANS)) / np.array(DEVIATIONS), -LIMIT, LIMIT)
        whole = np.column_stack([np.full(len(texts), math.sqrt(len(FEATURES))), standard])
        unit: FloatArray = (whole / np.linalg.norm(whole, axis=1, keepdims=True)).astype(np.float32)
        return unit


def features(text: str) -> list[float]:
    """The values of `FEATURES` before they are standardised."""
    text = text[:MAX_CHARACTERS]
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    count = max(1, len(points))
    words = text.split()
    word_length = sum(map(len, words)) / max(1, len(words))
    lengths = [math.log1p(len(points)), math.log1p(len(words)), math.log1p(text.count("\n")), math.log1p(word_length)]
    shares = [*_ascii_shares(points, count), *_script_shares(points, count)]
    return lengths + shares + [math.log1p(len(pattern.findall(text))) for pattern in _COMPILED]


def _ascii_shares(points: NDArray[np.uint32], count: int) -> list[float]:
    classes = np.bincount(_CLASS_OF[points[points < 128]], minlength=len(_CLASSES) + 1)
    return [math.sqrt(number / count) for number in classes[1:].tolist()]


def _script_shares(points: NDArray[np.uint32], count: int) -> list[float]:
    beyond = points[points >= 128]
    if not len(beyond):
        return [0.0] * len(_SCRIPTS)
    inside = ((beyond >= low) & (beyond < high) for low, high in _SCRIPTS.values())
    return [math.sqrt(int(mask.sum()) / count) for mask in inside]
