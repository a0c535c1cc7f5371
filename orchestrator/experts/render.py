"""Turns what an expert in this process has to say (a text, vectors, scores) into OpenAI's bodies and SSE events.

    answer = text_answer(call, "echo", "Hello there")           # a body, or events when the call asks for a stream
    answer = embedding_answer(call, "minilm", vectors, prompt_tokens=12)

Such experts have no tokenizer of their own: where a text is counted, cut or streamed here, a token is a word. Of the sampling
parameters, `n`, `stop`, `max_tokens` and `stream_options` mean something for a text that is already there, and are honoured.
"""

from __future__ import annotations

import base64
import re
import time
import uuid
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from orchestrator.experts.inputs import prompt_text, query_and_documents, rejected
from orchestrator.experts.sse import DONE
from orchestrator.types import Answer, Call, Usage

MAX_CHOICES = 128
"""Of one answer, as OpenAI has it."""
_WORD = re.compile(r"\s*\S+|\s+")


@dataclass(frozen=True, slots=True)
class _Text:
    """What is said, word by word, and why it ended there."""

    words: Sequence[str]
    finish_reason: Literal["stop", "length"]


def count_words(text: str) -> int:
    """The tokens of `text` as they are counted here."""
    return len(_WORD.findall(text))


def text_answer(
    call: Call, expert: str, text: str, usage: Usage | None = None, *, finish_reason: str | None = None
) -> Answer:
    """The answer to a chat or completion call, as a body or a stream; `n` choices say the same. Lone surrogates become `?`.

    usage: what it took, where somebody counted. finish_reason: `length` for a text that was cut off where it was written.
    Raises `ExpertRejected` for an `n` of more than `MAX_CHOICES`.
    """
    said = _within_limits(call.body, text.encode("utf-8", "replace").decode())
    if finish_reason == "length":
        said = replace(said, finish_reason="length")
    count = call.body.get("n") or 1
    if count > MAX_CHOICES:
        raise rejected(expert, f"n must be at most {MAX_CHOICES}", "n")
    usage = usage or Usage(count_words(prompt_text(call)), len(said.words) * count)
    head = _head(call, expert)
    if call.stream:
        return Answer(events=_events(call, head, said, usage), usage=usage)
    whole = "".join(said.words)
    choices = [_choice(call, i, whole, said.finish_reason) for i in range(count)]
    return _answer({**head, "choices": choices, "usage": _usage_object(usage)}, usage)


@dataclass(slots=True)
class Ending:
    """How an answer that comes piece by piece ended, and what it took; filled in by whoever makes the pieces, at the end."""

    usage: Usage
    finish_reason: Literal["stop", "length"] = "stop"


async def piecewise_answer(call: Call, expert: str, pieces: AsyncGenerator[str, None], ending: Ending) -> Answer:
    """The answer to a chat or completion call that comes piece by piece, as a stream where the call asks for one.

    Whoever makes the pieces heeds the call's limits. Returns when the first piece is there, and raises what was raised before it.
    """
    if not call.stream:
        text = "".join([piece async for piece in pieces])
        choices = [_choice(call, 0, text, ending.finish_reason)]
        return _answer({**_head(call, expert), "choices": choices, "usage": _usage_object(ending.usage)}, ending.usage)
    first = await anext(pieces, "")
    events = _live_events(call, _head(call, expert), first, pieces, ending)
    await anext(events)
    return Answer(events=events, usage=ending.usage)


async def _live_events(
    call: Call, head: dict[str, Any], first: str, pieces: AsyncGenerator[str, None], ending: Ending
) -> AsyncGenerator[bytes, None]:
    """One event per piece, as it comes, preceded by an empty block: once that was taken, closing this closes `pieces`."""
    is_chat, with_usage = call.kind == "chat", (call.body.get("stream_options") or {}).get("include_usage") is True
    no_usage_yet = {"usage": None} if with_usage else {}

    def event(piece: str, finish_reason: str | None, **delta: str) -> bytes:
        said = {"delta": {**delta, "content": piece} if piece or delta else {}} if is_chat else {"text": piece}
        choice = {"index": 0, "logprobs": None, "finish_reason": finish_reason, **said}
        return _event({**head, "choices": [choice], **no_usage_yet})

    try:
        yield b""
        yield event(first, None, role="assistant") if is_chat else event(first, None)
        async for piece in pieces:
            yield event(piece, None)
        yield event("", ending.finish_reason)
        if with_usage:
            yield _event({**head, "choices": [], "usage": _usage_object(ending.usage)})
        yield DONE
    finally:
        await pieces.aclose()


def embedding_answer(call: Call, expert: str, vectors: NDArray[np.float32], prompt_tokens: int) -> Answer:
    """The answer to an embeddings call. vectors: shape `(number of inputs, dimensions)`.

    Raises `ExpertRejected` when the call asks for other `dimensions` than the model has.
    """
    asked, dimensions = call.body.get("dimensions"), vectors.shape[1]
    if asked not in (None, dimensions):
        raise rejected(expert, f"{expert} has {dimensions} dimensions and can't return {asked}", "dimensions")
    as_base64 = call.body.get("encoding_format") == "base64"
    values = [_base64(row) for row in vectors] if as_base64 else vectors.tolist()
    data = [{"object": "embedding", "index": i, "embedding": value} for i, value in enumerate(values)]
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    return _answer({"object": "list", "data": data, "model": expert, "usage": usage}, Usage(prompt_tokens))


def rerank_answer(call: Call, expert: str, scores: Sequence[float], prompt_tokens: int) -> Answer:
    """The answer to a rerank call, best document first. scores: one per document of the call, higher is better."""
    documents = query_and_documents(call.body, expert)[1]
    order = sorted(range(len(scores)), key=lambda i: -scores[i])[: call.body.get("top_n") or len(scores)]
    results: list[dict[str, Any]] = [{"index": i, "relevance_score": float(scores[i])} for i in order]
    if call.body.get("return_documents"):
        results = [{**result, "document": {"text": documents[result["index"]]}} for result in results]
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    body = {"id": f"rerank-{uuid.uuid4().hex}", "object": "list", "model": expert, "results": results, "usage": usage}
    return _answer(body, Usage(prompt_tokens))


def _within_limits(body: Mapping[str, Any], text: str) -> _Text:
    """The text up to the first of the `stop` sequences, and no longer than `max_tokens`."""
    stops = body.get("stop") or ()
    for stop in filter(None, [stops] if isinstance(stops, str) else stops):
        text = text.partition(stop)[0]
    words = _WORD.findall(text)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if limit is not None and len(words) > limit:
        return _Text(words[:limit], "length")
    return _Text(words, "stop")


def _head(call: Call, expert: str) -> dict[str, Any]:
    """What the body, and every event of a stream, begins with."""
    prefix, kind = ("chatcmpl", "chat.completion") if call.kind == "chat" else ("cmpl", "text_completion")
    if call.stream and call.kind == "chat":
        kind += ".chunk"
    return {"id": f"{prefix}-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": expert}


def _choice(call: Call, index: int, text: str, finish_reason: str | None) -> dict[str, Any]:
    choice = {"index": index, "logprobs": None, "finish_reason": finish_reason}
    if call.kind == "completion":
        return {**choice, "text": text}
    return {**choice, "message": {"role": "assistant", "content": text, "refusal": None}}


def _pieces(call: Call, index: int, said: _Text) -> Iterator[dict[str, Any]]:
    """The choices of the events that stream one choice."""
    if call.kind == "completion":
        yield from (_choice(call, index, word, None) for word in said.words)
        yield _choice(call, index, "", said.finish_reason)
        return
    deltas = [{"role": "assistant", "content": ""}, *({"content": word} for word in said.words)]
    choice = {"index": index, "logprobs": None, "finish_reason": None}
    yield from ({**choice, "delta": delta} for delta in deltas)
    yield {**choice, "delta": {}, "finish_reason": said.finish_reason}


async def _events(call: Call, head: dict[str, Any], said: _Text, usage: Usage) -> AsyncGenerator[bytes, None]:
    with_usage = (call.body.get("stream_options") or {}).get("include_usage") is True
    no_usage_yet = {"usage": None} if with_usage else {}
    for index in range(call.body.get("n") or 1):
        for piece in _pieces(call, index, said):
            yield _event({**head, "choices": [piece], **no_usage_yet})
    if with_usage:
        yield _event({**head, "choices": [], "usage": _usage_object(usage)})
    yield DONE


def _event(payload: Mapping[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(payload) + b"\n\n"


def _answer(body: Mapping[str, Any], usage: Usage) -> Answer:
    return Answer(body=msgspec.json.encode(body), usage=usage)


def _usage_object(usage: Usage) -> dict[str, int]:
    total = usage.prompt_tokens + usage.completion_tokens
    return {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens, "total_tokens": total}


def _base64(vector: NDArray[np.float32]) -> str:
    """Little-endian float32, as OpenAI's clients read it."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
