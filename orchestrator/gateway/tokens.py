"""How long a request is, in tokens: an upper estimate of its tools, attachments and inputs, beside that of its texts.

    estimate_json([{"type": "function", "function": {"name": "add"}}])
    estimate_inputs(["a cat", [1, 2, 3]])         # [5, 3]

Texts are counted by `orchestrator/tokens.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from orchestrator.gateway.validation import Part
from orchestrator.tokens import IMAGE_TOKENS, estimate, estimate_sound


def estimate_json(value: Any) -> int:
    """Tokens of tool definitions and calls, which templates write out as JSON."""
    return estimate(msgspec.json.encode(value).decode()) if value else 0


def estimate_attachments(parts: Iterable[Part]) -> int:
    """Tokens of the parts of a message that are not text."""
    return sum(_attachment(part) for part in parts)


def estimate_inputs(items: Sequence[str | int | list[int]]) -> list[int]:
    """Tokens of each of several inputs, which are texts or token ids; bare ids together are one input, the last."""
    each = [estimate(item) if isinstance(item, str) else len(item) for item in items if not isinstance(item, int)]
    ids = sum(isinstance(item, int) for item in items)
    return [*each, ids] if ids else each


def _attachment(part: Part) -> int:
    if part.input_audio is not None:
        return estimate_sound(str(part.input_audio.get("data", "")))
    return IMAGE_TOKENS
