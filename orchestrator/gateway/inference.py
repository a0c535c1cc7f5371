"""The four inference endpoints, which are one: a body becomes a query, the pipeline answers it, the answer is sent.

    endpoint = inference("chat")                  # POST /v1/chat/completions
    await infer(request, "chat", body, OPENAI)    # what /v1/responses and /v1/messages call with a surface of their own

Not here: what a body means (`requests.py`), which expert answers (`orchestrator/pipeline.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from orchestrator.gateway.http import Request
from orchestrator.gateway.requests import query_of
from orchestrator.gateway.streaming import ClientWatch, Hold, decision_headers, send_events
from orchestrator.gateway.surface import OPENAI, Surface
from orchestrator.types import Kind


def inference(kind: Kind) -> Callable[[Request], Awaitable[None]]:
    """The handler of OpenAI's endpoint of this kind."""

    async def handler(request: Request) -> None:
        await infer(request, kind, await request.json(), OPENAI)

    return handler


async def infer(request: Request, kind: Kind, body: dict[str, Any], surface: Surface) -> None:
    """Answer one request: `body` in OpenAI's terms, the answer in `surface`'s. Raises `SwitchyardError` before or amid it."""
    request.surface = surface
    query = query_of(request, kind, body)
    request.decision_id = query.id
    with ClientWatch(request):
        with Hold(request, query):
            reply = await request.context.pipeline.answer(query, partial(surface.body, query))
        if reply.events is not None:
            await send_events(request, query, reply.decision, reply.events)
    if reply.body is None:
        await request.send_block(b"", more=False)
    else:
        await request.respond(reply.body, headers=decision_headers(reply.decision))
