"""From a request's body to a `Query`: what is routed, how long it is, what it needs, which conversation it belongs to.

    query = make_query(request, "chat", {"model": "auto", "messages": [{"role": "user", "content": "What is 2 + 2?"}]})
    query.text, query.needs, query.prompt_tokens

Conversations are read by `dialogue.py`, types of fields are checked by `validation.py`, which expert it leads to is the pipeline's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import RequestError
from orchestrator.gateway.dialogue import clip, read_dialogue
from orchestrator.gateway.http import Request
from orchestrator.gateway.tokens import estimate, estimate_json, estimate_longest
from orchestrator.gateway.validation import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    InferenceRequest,
    RerankRequest,
    Texts,
    validated,
)
from orchestrator.types import Capability, Kind, Query, RequestOptions

DEFAULT_MAX_TOKENS = 128
"""Room that is kept for the answer where the request doesn't say how long it may be."""
MAX_SESSION_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class Features:
    """What is read off one kind of body. conversation: what tells this one from others. has_answers: it has begun before."""

    text: str
    prompt_tokens: int
    max_tokens: int = 0
    needs: frozenset[Capability] = frozenset()
    conversation: str | None = None
    has_answers: bool = False
    tool_loop: bool = False


def make_query(request: Request, kind: Kind, body: dict[str, Any]) -> Query:
    """Raises `RequestError` that names the field. `body` keeps everything but its `switchyard` object."""
    reader = READERS[kind]
    parsed, body = validated(reader.struct, body)
    features = reader.features(parsed)
    options = RequestOptions() if parsed.switchyard is None else parsed.switchyard.options()
    named = _named_session(request, options)
    session = named or features.conversation
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
        session=session,
        continues=features.has_answers or named is not None,
        tool_loop=features.tool_loop,
    )


def new_decision_id() -> str:
    """Sortable by time of creation, like a UUID 7: 48 bits of milliseconds and 80 random ones."""
    return f"sw-{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


def kind_of(body: dict[str, Any]) -> Kind:
    """Which kind of request a body is, where the path doesn't say it."""
    for kind, reader in READERS.items():
        if reader.field in body:
            return kind
    fields = ", ".join(reader.field for reader in READERS.values())
    raise RequestError(f"There is nothing to route: the request has none of {fields}.")


def _named_session(request: Request, options: RequestOptions) -> str | None:
    """The session that the client names, if it does."""
    name = options.session or request.header(b"x-session-id")
    if name is not None and len(name) > MAX_SESSION_CHARACTERS:
        raise RequestError(f"x-session-id is longer than {MAX_SESSION_CHARACTERS} characters.", param="x-session-id")
    return name or None


def _read_chat(chat: ChatRequest) -> Features:
    dialogue = read_dialogue(chat.messages)
    return Features(
        text=dialogue.text,
        prompt_tokens=dialogue.prompt_tokens + estimate_json(chat.tools) + estimate_json(chat.functions),
        max_tokens=chat.max_completion_tokens or chat.max_tokens or DEFAULT_MAX_TOKENS,
        needs=_needs(
            streaming=bool(chat.stream),
            tools=bool(chat.tools or chat.functions) or dialogue.tools,
            vision=dialogue.vision,
            json_schema=chat.response_format is not None and chat.response_format.type != "text",
            logprobs=bool(chat.logprobs),
        ),
        conversation=dialogue.conversation,
        has_answers=dialogue.has_answers,
        tool_loop=dialogue.tool_loop,
    )


def _read_completion(completion: CompletionRequest) -> Features:
    prompts = _listed(completion.prompt)
    return Features(
        text=_first_text(prompts),
        prompt_tokens=estimate_longest(prompts),
        max_tokens=completion.max_tokens or DEFAULT_MAX_TOKENS,
        needs=_needs(streaming=bool(completion.stream), logprobs=completion.logprobs is not None),
    )


def _read_embedding(embedding: EmbeddingRequest) -> Features:
    inputs = _listed(embedding.input)
    return Features(text=_first_text(inputs), prompt_tokens=estimate_longest(inputs))


def _read_rerank(rerank: RerankRequest) -> Features:
    documents = [document if isinstance(document, str) else document.text for document in rerank.documents]
    return Features(text=clip(rerank.query), prompt_tokens=estimate(rerank.query) + estimate_longest(documents))


def _needs(
    *,
    streaming: bool = False,
    tools: bool = False,
    vision: bool = False,
    json_schema: bool = False,
    logprobs: bool = False,
) -> frozenset[Capability]:
    """`json_schema` stands for JSON mode too: an expert that can't hold a schema can't be relied on for JSON at all."""
    wanted: dict[Capability, bool] = {
        "streaming": streaming,
        "tools": tools,
        "vision": vision,
        "json_schema": json_schema,
        "logprobs": logprobs,
    }
    return frozenset(capability for capability, is_wanted in wanted.items() if is_wanted)


def _listed(texts: Texts) -> Sequence[str | int | list[int]]:
    return [texts] if isinstance(texts, str) else texts


def _first_text(items: Sequence[str | int | list[int]]) -> str:
    return clip(next((item for item in items if isinstance(item, str)), ""))


@dataclass(frozen=True, slots=True)
class Reader:
    """How the bodies of one kind are read. field: the one that only they have."""

    struct: type[InferenceRequest]
    features: Callable[[Any], Features]
    field: str


READERS: dict[Kind, Reader] = {
    "chat": Reader(ChatRequest, _read_chat, "messages"),
    "completion": Reader(CompletionRequest, _read_completion, "prompt"),
    "embedding": Reader(EmbeddingRequest, _read_embedding, "input"),
    "rerank": Reader(RerankRequest, _read_rerank, "documents"),
}
