"""From a request's body to a `Query`: what is routed, how long it is, what it needs, which conversation it belongs to.

    query = make_query(request, "chat", {"model": "auto", "messages": [{"role": "user", "content": "What is 2 + 2?"}]})
    query.text, query.needs, query.prompt_tokens

Conversations are read by `dialogue.py`, types of fields are checked by `validation.py`, which expert it leads to is the pipeline's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import RequestError
from orchestrator.gateway.dialogue import Dialogue, read_dialogue
from orchestrator.gateway.http import Request
from orchestrator.gateway.tokens import estimate, estimate_json, estimate_longest
from orchestrator.gateway.validation import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    InferenceRequest,
    RerankRequest,
    validate,
)
from orchestrator.types import Capability, Kind, Query, RequestOptions

DEFAULT_MAX_TOKENS = 128
"""Room that is kept for the answer where the request doesn't say how long it may be."""
TEXT_CHARACTERS = 2000
MAX_SESSION_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class Features:
    """What is read off one kind of body. conversation: what tells this one from others, once it has begun."""

    text: str
    prompt_tokens: int
    max_tokens: int = 0
    needs: frozenset[Capability] = frozenset()
    conversation: str | None = None
    tool_loop: bool = False


def make_query(request: Request, kind: Kind, body: dict[str, Any]) -> Query:
    """Raises `RequestError` that names the field. `body` keeps everything but its `switchyard` object."""
    struct, read = READERS[kind]
    parsed = validate(struct, body)
    features = read(parsed)
    options = RequestOptions() if parsed.switchyard is None else parsed.switchyard.options()
    return Query(
        id=new_decision_id(),
        kind=kind,
        model=parsed.model,
        body={name: value for name, value in body.items() if name != "switchyard"} if "switchyard" in body else body,
        text=features.text,
        prompt_tokens=features.prompt_tokens,
        max_tokens=features.max_tokens,
        deadline=request.received_at + request.context.config().gateway.request_timeout_s,
        received_at=request.received_at,
        needs=features.needs,
        options=options,
        caller=request.caller,
        session=_session(request, options, features),
        tool_loop=features.tool_loop,
    )


def new_decision_id() -> str:
    """Sortable by time of creation, like a UUID 7: 48 bits of milliseconds and 80 random ones."""
    return f"sw-{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


def kind_of(body: dict[str, Any]) -> Kind:
    """Which kind of request a body is, where the path doesn't say it."""
    for field, kind in KIND_FIELDS.items():
        if field in body:
            return kind
    raise RequestError(f"The request has none of {', '.join(KIND_FIELDS)}, so there is nothing to route.")


def _session(request: Request, options: RequestOptions, features: Features) -> str | None:
    """Sessions of different keys never mix."""
    name = options.session or request.header(b"x-session-id")
    if name is not None and len(name) > MAX_SESSION_CHARACTERS:
        raise RequestError(f"x-session-id is longer than {MAX_SESSION_CHARACTERS} characters.", param="x-session-id")
    name = name or features.conversation
    return f"{request.caller.key_id}/{name}" if name else None


def read_chat(chat: ChatRequest) -> Features:
    dialogue = read_dialogue(chat.messages)
    tools = estimate_json(chat.tools) + estimate_json(chat.functions)
    return Features(
        text=dialogue.text,
        prompt_tokens=dialogue.prompt_tokens + tools,
        max_tokens=chat.max_completion_tokens or chat.max_tokens or DEFAULT_MAX_TOKENS,
        needs=frozenset(_chat_needs(chat, dialogue)) if _has_needs(chat, dialogue) else frozenset(),
        conversation=dialogue.conversation,
        tool_loop=dialogue.tool_loop,
    )
