"""Log-probabilities in answers of chats and completions: asking for them, reading them, and hiding them from who did not ask.

    body = with_logprobs(query.body, "chat", alternatives=5)
    tokens = tokens_of(choice)                      # [Token(-0.1, (("Yes", -0.1), ("No", -2.4)))], [] where there are none
    whole = as_asked(payload, query.body)           # an answer or a chunk, with what the client itself had asked for

The shapes are OpenAI's for chats and for completions; llama.cpp gives both in that of chats. Not here: what they mean
(`routers/confidence.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from orchestrator.types import Kind


class Token(NamedTuple):
    """logprob: of the token that was chosen. alternatives: the likeliest tokens there, with theirs."""

    logprob: float
    alternatives: tuple[tuple[str, float], ...]


def with_logprobs(body: Mapping[str, Any], kind: Kind, alternatives: int) -> dict[str, Any]:
    """The body, asking for at least this many alternatives per token."""
    if kind == "chat":
        return {
            **body,
            "logprobs": True,
            "top_logprobs": max(alternatives, body.get("top_logprobs") or 0),
        }
    return {**body, "logprobs": max(alternatives, _asked(body))}


def tokens_of(choice: Mapping[str, Any]) -> list[Token]:
    """What a choice of a whole answer says of its tokens."""
    logprobs = choice.get("logprobs") or {}
    if logprobs.get("content") is not None:
        return [_of_chat(entry) for entry in logprobs["content"]]
    chosen = logprobs.get("token_logprobs") or []
    tops = logprobs.get("top_logprobs") or [None] * len(chosen)
    return [
        Token(logprob, tuple((top or {}).items()))
        for logprob, top in zip(chosen, tops, strict=False)
        if logprob is not None
    ]


def as_asked(payload: dict[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """An answer or a chunk without what only we have asked for. body: the client's. Changes `payload`."""
    asked, alternatives = bool(body.get("logprobs")) or _asked(body) > 0, body.get("top_logprobs") or _asked(body)
    for choice in payload.get("choices") or ():
        logprobs = choice.get("logprobs")
        if not logprobs:
            continue
        if not asked:
            choice["logprobs"] = None
            continue
        for entry in logprobs.get("content") or ():
            entry["top_logprobs"] = (entry.get("top_logprobs") or [])[:alternatives]
        if logprobs.get("top_logprobs"):
            logprobs["top_logprobs"] = [dict([*(top or {}).items()][:alternatives]) for top in logprobs["top_logprobs"]]
    return payload


def _asked(body: Mapping[str, Any]) -> int:
    """How many alternatives a completion asks for; in a chat `logprobs` is no number."""
    logprobs = body.get("logprobs")
    return 0 if isinstance(logprobs, bool) or logprobs is None else int(logprobs)


def _of_chat(entry: Mapping[str, Any]) -> Token:
    tops = entry.get("top_logprobs") or ()
    return Token(entry["logprob"], tuple((top["token"], top["logprob"]) for top in tops))
