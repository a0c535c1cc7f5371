"""The gateway as one ASGI app: the table of routes, and nothing else.

    app = create_app(context)
    await serve(app, context.lifecycle, bind("127.0.0.1", 8700), stop=stop_on_signals())

The OpenAPI document is made from the same table (`openapi.py`). Not here: what any route does.
"""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator.bulk.objects import Batch, BatchRequest, FileObject
from orchestrator.gateway import admin, batches, decisions, dialects, files, health, models
from orchestrator.gateway.context import GatewayContext
from orchestrator.gateway.endpoint import Endpoint, RouteSpec
from orchestrator.gateway.http import Request
from orchestrator.gateway.inference import inference
from orchestrator.gateway.messages_request import CountTokensRequest, MessagesRequest
from orchestrator.gateway.openapi import openapi_route
from orchestrator.gateway.requests import READERS
from orchestrator.gateway.responses_request import ResponsesRequest
from orchestrator.gateway.surface import OPENAI
from orchestrator.scheduler.base import ExpertStatus
from orchestrator.types import Decision, Kind

JSONObject = dict[str, Any]
PAGED = {400: "The page is wrong; `param` says where", 404: "There is nothing that it could come after"}
ANY_REQUEST = tuple(reader.struct for reader in READERS.values())


def _inference(kind: Kind, path: str, summary: str) -> RouteSpec:
    return RouteSpec("POST", path, inference(kind), summary, (READERS[kind].struct,), JSONObject, inference=True)


ROUTES: tuple[RouteSpec, ...] = (
    _inference("chat", "/v1/chat/completions", "Answer a conversation"),
    _inference("completion", "/v1/completions", "Complete a text"),
    _inference("embedding", "/v1/embeddings", "Embed texts"),
    _inference("rerank", "/v1/rerank", "Order documents by relevance to a query"),
    RouteSpec(
        "POST",
        "/v1/responses",
        dialects.responses,
        "OpenAI's Responses",
        (ResponsesRequest,),
        JSONObject,
        inference=True,
    ),
    RouteSpec(
        "POST",
        "/v1/messages",
        dialects.messages,
        "Anthropic's Messages",
        (MessagesRequest,),
        JSONObject,
        inference=True,
        surface=dialects.MessagesSurface(),
    ),
    RouteSpec(
        "POST",
        "/v1/messages/count_tokens",
        dialects.count_tokens,
        "An upper estimate of a message's tokens",
        (CountTokensRequest,),
        JSONObject,
        surface=dialects.MessagesSurface(),
    ),
    RouteSpec("GET", "/v1/models", models.list_models, "What may stand in `model`", answer=models.ModelList),
    RouteSpec("GET", "/v1/models/{model:path}", models.get_model, "One model", answer=models.Model),
    RouteSpec("POST", "/v1/route", decisions.route, "The decision without the call", ANY_REQUEST, Decision),
    RouteSpec("GET", "/v1/decisions/{decision}", decisions.get_decision, "A recorded decision", answer=Decision),
    RouteSpec(
        "POST",
        "/v1/feedback",
        decisions.feedback,
        "Say how good an answer was",
        (decisions.FeedbackBody,),
        decisions.FeedbackReceipt,
        statuses={404: "There is no such decision"},
    ),
    RouteSpec("POST", "/v1/files", files.upload, "Upload a file of requests", form=files.UPLOAD, answer=FileObject),
    RouteSpec("GET", "/v1/files", files.list_files, "The key's files", answer=files.FileList, statuses=PAGED),
    RouteSpec("GET", "/v1/files/{file}", files.get_file, "A file, without its contents", answer=FileObject),
    RouteSpec(
        "GET",
        "/v1/files/{file}/content",
        files.get_content,
        "What is in a file",
        media_type="application/octet-stream",
    ),
    RouteSpec(
        "DELETE",
        "/v1/files/{file}",
        files.delete_file,
        "Delete a file",
        answer=files.FileDeleted,
        statuses={400: "A batch needs it"},
    ),
    RouteSpec(
        "POST",
        "/v1/batches",
        batches.create,
        "Have a file of requests answered",
        (BatchRequest,),
        Batch,
        statuses={404: "There is no such file", 429: "Too many batches are not over"},
    ),
    RouteSpec(
        "GET", "/v1/batches", batches.list_batches, "The key's batches", answer=batches.BatchList, statuses=PAGED
    ),
    RouteSpec("GET", "/v1/batches/{batch}", batches.get_batch, "A batch, and how much of it is done", answer=Batch),
    RouteSpec(
        "POST",
        "/v1/batches/{batch}/cancel",
        batches.cancel,
        "End a batch early",
        answer=Batch,
        statuses={400: "It is over"},
    ),
    RouteSpec("GET", "/admin/experts", admin.list_experts, "The experts' states", answer=admin.ExpertList),
    RouteSpec("POST", "/admin/experts/{expert}/warm", admin.warm, "Load an expert", answer=ExpertStatus),
    RouteSpec("POST", "/admin/experts/{expert}/unload", admin.unload, "Free an expert's memory", answer=ExpertStatus),
    RouteSpec("GET", "/healthz", health.healthz, "Whether the gateway is alive", public=True),
    RouteSpec(
        "GET", "/readyz", health.readyz, "Whether it may be sent requests", public=True, statuses={503: "Why not"}
    ),
    RouteSpec("GET", "/metrics", health.metrics, "Prometheus's text format", media_type="text/plain"),
)


class _ByMethod:
    """The endpoints of one path. Which methods there are, the router has looked at."""

    def __init__(self, endpoints: dict[str, Endpoint]) -> None:
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        await self._endpoints[method](scope, receive, send)


def create_app(context: GatewayContext) -> ASGIApp:
    """Every request is answered, unknown paths and wrong methods too, in OpenAI's shapes."""
    context.metrics.watch(
        lambda: context.lifecycle.in_flight, lambda: 0 if context.batches is None else context.batches.in_progress
    )
    specs = (*ROUTES, openapi_route(ROUTES, keyed=bool(context.keys)))
    endpoints = [(spec, Endpoint(context, spec)) for spec in specs]
    by_path: dict[str, dict[str, Endpoint]] = {}
    for spec, endpoint in endpoints:
        by_path.setdefault(spec.path, {})[spec.method] = endpoint
    router = Router(
        [Route(path, _ByMethod(methods), methods=list(methods)) for path, methods in by_path.items()],
        redirect_slashes=False,
    )
    # The busiest paths don't wait for the router to try one pattern after the other.
    direct = {(spec.method, spec.path): endpoint for spec, endpoint in endpoints if spec.inference}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["app"] = app
            if (endpoint := direct.get((scope["method"], scope["path"]))) is not None:
                await endpoint(scope, receive, send)
                return
        try:
            await router(scope, receive, send)
        except HTTPException as exc:
            await Request(context, scope, receive, send, OPENAI).fail(exc)

    return app
