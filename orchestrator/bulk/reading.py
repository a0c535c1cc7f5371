"""What may stand in a line of a batch: the endpoints, and how a body of each becomes a query.

    query, present = read_request("/v1/chat/completions", b'{"model": ...}', caller=caller, timeout_s=3600.0)
    reply = await pipeline.answer(query, present)

Bodies are those of the same endpoints of the gateway, but for `stream`. Not here: the lines around them (`lines.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from orchestrator.errors import RequestError
from orchestrator.gateway import responses_request
from orchestrator.gateway.dialects import ResponsesSurface
from orchestrator.gateway.http import parse_object
from orchestrator.gateway.requests import make_query
from orchestrator.gateway.surface import OPENAI, Surface
from orchestrator.types import Caller, Decision, Kind, Query

KINDS: dict[str, Kind] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completion",
    "/v1/embeddings": "embedding",
    "/v1/rerank": "rerank",
}
RESPONSES = "/v1/responses"
URLS = (*KINDS, RESPONSES)

Present = Callable[[Decision, bytes], bytes]


class _Named(Struct):
    model: str


def model_of(raw: bytes) -> str:
    """What a body asks for; empty where it can't be read."""
    try:
        return msgspec.json.decode(raw, type=_Named).model
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def read_request(url: str, raw: bytes, *, caller: Caller, timeout_s: float) -> tuple[Query, Present]:
    """The query, and how its answer is said. url: one of `URLS`. Raises `RequestError` that names the field."""
    body = parse_object(raw)
    if body.get("stream"):
        raise RequestError("A batch has no streams.", param="stream", code="unsupported_parameter")
    surface: Surface = OPENAI
    if url == RESPONSES:
        parsed = responses_request.parse(body)
        body, surface = responses_request.chat_body(parsed, body), ResponsesSurface(parsed)
    kind = KINDS.get(url, "chat")
    query = make_query(kind, body, received_at=time.monotonic(), timeout_s=timeout_s, caller=caller)
    query = replace(query, options=replace(query.options, priority="bulk"))
    return query, partial(surface.body, query)
