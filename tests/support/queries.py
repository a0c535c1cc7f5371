"""Queries for tests of what lies behind the gateway."""

import time
from typing import Any

from orchestrator.types import ANONYMOUS, Caller, Kind, Query, RequestOptions


def chat_query(text: str = "What is 2 + 2?", *, model: str = "auto", stream: bool = False, **changes: Any) -> Query:
    """A chat query; `changes` replace fields of `Query`."""
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    if stream:
        body["stream"] = True
    return make_query("chat", body, text, **changes)


def make_query(kind: Kind, body: dict[str, Any], text: str = "", **changes: Any) -> Query:
    now = time.monotonic()
    fields: dict[str, Any] = {
        "id": f"sw-{time.time_ns():x}",
        "kind": kind,
        "model": body["model"],
        "body": body,
        "text": text,
        "prompt_tokens": 10,
        "max_tokens": 20,
        "deadline": now + 10.0,
        "received_at": now,
        "needs": frozenset({"streaming"}) if body.get("stream") else frozenset(),
        "options": RequestOptions(),
        "caller": ANONYMOUS,
    }
    return Query(**{**fields, **changes})


def caller(*experts: str, policies: frozenset[str] | None = None) -> Caller:
    return Caller("key-1", experts=frozenset(experts) or None, policies=policies)
