"""What surrounds every handler: admission while shutting down, the API key, the deadline, errors, and what was refused.

    endpoint = Endpoint(context, RouteSpec("GET", "/v1/models", handler, summary="..."))
    await endpoint(scope, receive, send)          # an ASGI app

The table of routes is in `app.py`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send

from orchestrator.gateway.context import GatewayContext
from orchestrator.gateway.http import ClientGone, Request
from orchestrator.gateway.surface import OPENAI, Surface

Handler = Callable[[Request], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """One route, as both the router and the OpenAPI document see it.

    body: the types of what may go in. answer: the type of what comes out. public: needs no key, and works while shutting
    down. inference: counted in the metrics (here only what never became a decision); may answer with SSE. statuses: errors it
    answers with besides the usual ones. surface: the shape of its errors. form: the JSON schema of a form, where one goes in.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    body: tuple[Any, ...] = ()
    answer: Any = None
    public: bool = False
    inference: bool = False
    media_type: str = "application/json"
    statuses: Mapping[int, str] = field(default_factory=dict)
    surface: Surface = OPENAI
    form: Mapping[str, Any] | None = None


class Endpoint:
    """The ASGI app of one route."""

    def __init__(self, context: GatewayContext, spec: RouteSpec) -> None:
        self._context = context
        self._spec = spec

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(self._context, scope, receive, send, self._spec.surface)
        try:
            await self._handle(request)
        except ClientGone:
            request.status = 499
        except Exception as exc:  # noqa: BLE001  the last frame before the server: whatever it is, the client gets a clear error
            await request.fail(exc)
        finally:
            if self._spec.inference and request.decision_id is None:
                self._context.metrics.refused(request.status)

    async def _handle(self, request: Request) -> None:
        if self._spec.public:
            await self._spec.handler(request)
            return
        lifecycle = self._context.lifecycle
        task = lifecycle.enter(self._deadline(request))
        try:
            request.caller = self._context.keys.authenticate(request.scope["headers"])
            await self._spec.handler(request)
        except asyncio.CancelledError as exc:
            if (why := lifecycle.interruption(task)) is None:
                raise
            task.uncancel()  # it goes on, to tell the client
            raise why from exc
        finally:
            lifecycle.leave(task)

    def _deadline(self, request: Request) -> float:
        """Loading by hand, which has no body, takes the time it takes, and so does an upload while it goes on."""
        if not self._spec.body:
            return math.inf
        return request.received_at + self._context.config().gateway.request_timeout_s
