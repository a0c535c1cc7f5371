"""From a request's body to a `Query`: what is routed, how long it is, what it needs, which conversation it belongs to.

    body = {"model": "auto", "messages": [{"role": "user", "content": "What is 2 + 2?"}]}
    query = make_query("chat", body, received_at=time.monotonic(), timeout_s=300.0)
    query.text, query.needs, query.prompt_tokens

`query_of` does so for an HTTP request. Conversations are read by `dialogue.py`, types of fields are checked by `validation.py`;
which expert it leads to is the pipeline's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from msgspec import Struct

from orchestrator.errors import RequestError
from orchestrator.gateway.dialogue import clip, read_dialogue
from orchestrator.gateway.http import Request
from orchestrator.gateway.tokens import estimate_inputs, estimate_json
from orchestrator.gateway.validation import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    InferenceRequest,
    RerankRequest,
    Texts,
    validated,
)
from orchestrator.tokens import DEFAULT_MAX_TOKENS, estimate
from orchestrator.types import ANONYMOUS, Caller, Capability, Kind, Query, RequestOptions

MAX_SESSION_CHARACTERS = 256
NO_OPTIONS = RequestOptions()
CAPABILITIES: tuple[Capability, ...] = ("streaming", "tools", "vision", "json_schema", "logprobs")


class Features(Struct, frozen=True):
    """What is read off one kind of body. conversation: what tells this one from others. has_answers: it has begun before."""

    text: str
    prompt_tokens: int
    max_tokens: int = 0
    needs: frozenset[Capability] = frozenset()
    conversation: str | None = None
    has_answers: bool = False
    tool_loop: bool = False
    other_prompt_tokens: int = 0
    num_answers: int = 1


def query_of(request: Request, kind: Kind, body: dict[str, Any]) -> Query:
    """The query of an HTTP request. Raises `RequestError` that names the field."""
    return make_query(
        kind,
        body,
        received_at=request.received_at,
        timeout_s=request.context.config().gateway.request_timeout_s,
        caller=request.caller,
        session=request.header(b"x-session-id"),
        tell=request.tell,
    )


def make_query(
    kind: Kind,
    body: dict[str, Any],
    *,
    received_at: float,
    timeout_s: float,
    caller: Caller = ANONYMOUS,
    session: str | None = None,
    tell: Callable[[str], None] | None = None,
) -> Query:
    """`body`, which keeps everything but its `switchyard` object, as a query. Raises `RequestError` that names the field.

    received_at: on `time.monotonic()`. timeout_s: from then on. session: what the client calls it, outside of the body.
    tell: takes lines about how a stream is getting on before it begins.
    """
    reader = READERS[kind]
    parsed, body = validated(reader.struct, body)
    features = reader.features(parsed)
    options = NO_OPTIONS if parsed.switchyard is None else parsed.switchyard.options()
    named = _named_session(options.session or session)
    return Query(
        id=new_decision_id(),
        kind=kind,
        model=parsed.model,
        body={name: value for name, value in body.items() if name != "switchyard"} if "switchyard" in body else body,
        text=features.text,
        prompt_tokens=features.prompt_tokens,
        max_tokens=features.max_tokens,
        deadline=received_at + timeout_s,
        received_at=received_at,
        needs=features.needs,
        options=options,
        caller=caller,
        session=named or features.conversation,
        continues=features.has_answers or named is not None,
        tool_loop=features.tool_loop,
        other_prompt_tokens=features.other_prompt_tokens,
        num_answers=features.num_answers,
        tell=tell if body.get("stream") is True else None,
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


def _named_session(name: str | None) -> str | None:
    """The session that the client names, if it does."""
    if name is not None and len(name) > MAX_SESSION_CHARACTERS:
        raise RequestError(f"x-session-id is longer than {MAX_SESSION_CHARACTERS} characters.", param="x-session-id")
    return name or None


def _read_chat(chat: ChatRequest) -> Features:
    dialogue = read_dialogue(chat.messages, (chat.user, chat.safety_identifier, chat.prompt_cache_key))
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
        num_answers=chat.n or 1,
    )


def _read_completion(completion: CompletionRequest) -> Features:
    prompts = _listed(completion.prompt)
    sizes = estimate_inputs(prompts)
    return Features(
        text=_first_text(prompts),
        prompt_tokens=max(sizes),
        max_tokens=completion.max_tokens or DEFAULT_MAX_TOKENS,
        needs=_needs(streaming=bool(completion.stream), logprobs=completion.logprobs is not None),
        other_prompt_tokens=sum(sizes) - max(sizes),
        num_answers=max(completion.n or 1, completion.best_of or 1) * len(sizes),
    )


def _read_embedding(embedding: EmbeddingRequest) -> Features:
    inputs = _listed(embedding.input)
    sizes = estimate_inputs(inputs)
    return Features(text=_first_text(inputs), prompt_tokens=max(sizes), other_prompt_tokens=sum(sizes) - max(sizes))


def _read_rerank(rerank: RerankRequest) -> Features:
    documents = [document if isinstance(document, str) else document.text for document in rerank.documents]
    query_tokens = estimate(rerank.query)
    pairs = [query_tokens + tokens for tokens in estimate_inputs(documents)]
    return Features(text=clip(rerank.query), prompt_tokens=max(pairs), other_prompt_tokens=sum(pairs) - max(pairs))


def _needs(
    *,
    streaming: bool = False,
    tools: bool = False,
    vision: bool = False,
    json_schema: bool = False,
    logprobs: bool = False,
) -> frozenset[Capability]:
    """`json_schema` stands for JSON mode too: an expert that can't hold a schema can't be relied on for JSON at all."""
    return frozenset(compress(CAPABILITIES, (streaming, tools, vision, json_schema, logprobs)))


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
