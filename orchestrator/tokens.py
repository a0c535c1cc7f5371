"""An upper estimate of a text's tokens in a few microseconds, for any tokenizer and without loading one.

    estimate("What is 17 * 23?")                  # 12; tokenizers say 8 to 10

Bytes are counted by class with `bytes.translate`, at memory speed, and each class is charged about what the greediest of four
tokenizers (SmolLM2, cl100k, Claude's, MiniLM's) needs for it: a digit or a sign is a token, a word the better part of one and a
quarter more for each letter, a byte beyond ASCII (CJK takes three a character) nearly one. That is 1.3 to 1.6 times too high on
prose and code. Random letters (base64, hexadecimal) may exceed it; the expert's own refusal catches those. Not here: tools
and lists of inputs (`gateway/tokens.py`).
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

MESSAGE_TOKENS = 5
"""What chat templates put around a message."""
IMAGE_TOKENS = 1600
"""What large vision models take for a picture in full detail; other attachments are taken for as long."""
AUDIO_CHARACTERS = 1000
"""Base64 characters of sound per token: ten tokens a second at 64 kbit/s."""
DEFAULT_MAX_TOKENS = 128
"""Room that is kept for an answer where nobody says how long it may be."""

_LOWER = string.ascii_lowercase.encode()
_UPPER = string.ascii_uppercase.encode()
_SPACE = b" "
_OTHER_ASCII = bytes(b for b in range(128) if b not in _LOWER + _UPPER + _SPACE)


def estimate(text: str) -> int:
    """Tokens of `text`, rounded up."""
    raw = text.encode()
    no_lower = raw.translate(None, _LOWER)
    no_letters = no_lower.translate(None, _UPPER)
    no_words = no_letters.translate(None, _SPACE)
    beyond_ascii = len(no_words.translate(None, _OTHER_ASCII))
    lower, upper = len(raw) - len(no_lower), len(no_lower) - len(no_letters)
    indents = raw.count(b"  ")
    gaps = len(no_letters) - len(no_words) - 2 * indents
    others = len(no_words) - beyond_ascii
    return int(0.28 * lower + 0.55 * upper + 0.65 * gaps + 0.2 * indents + others + 0.9 * beyond_ascii) + 2


def estimate_message(message: Mapping[str, Any]) -> int:
    """Tokens of one of OpenAI's chat messages, its pictures and sounds included."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    return MESSAGE_TOKENS + sum(_part(part) for part in parts)


def estimate_sound(data: str) -> int:
    """Tokens of sound in base64."""
    return len(data) // AUDIO_CHARACTERS + 1


def _part(part: Mapping[str, Any]) -> int:
    if isinstance(text := part.get("text"), str):
        return estimate(text)
    if isinstance(sound := part.get("input_audio"), Mapping):
        return estimate_sound(str(sound.get("data", "")))
    return IMAGE_TOKENS
