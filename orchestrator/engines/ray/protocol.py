"""HTTP in a gateway that Ray Serve runs: requests reach the app straight from uvicorn, since on its own path Serve takes a third as
much time for each as the gateway.

    uvicorn.config.HTTP_PROTOCOLS["auto"] = straight_to(app, unfit)        # on the loop that the app is to run on

There Serve names requests, matches their routes, logs and measures them and watches their clients, all of which the gateway does
itself. Serve still answers paths of its own, such as HAProxy's health checks, and knows how many requests are under way: by that it
scales gateways, and waits before it ends one. HAProxy's checks are told that a gateway is `unfit`, so that others are asked;
Serve is not, since it would end what is under way. Not here: the gathering of writes (`orchestrator/gateway/coalescing.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any

from ray.serve._private.common import RequestMetadata, RequestProtocol
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator.gateway.coalescing import CoalescingProtocol

OF_SERVE, CHECK = "/-/", "/-/healthz"
UNFIT = PlainTextResponse("UNFIT", status_code=503)
_COUNTED = RequestMetadata("", "", is_direct_ingress=True, _request_protocol=RequestProtocol.HTTP)


def straight_to(app: ASGIApp, unfit: Callable[[], bool]) -> Callable[..., CoalescingProtocol]:
    """What uvicorn is to make of each connection. unfit: whether another gateway had better be asked."""
    loop = asyncio.get_running_loop()

    @cache
    def beside(serve: Any) -> ASGIApp:
        """What Serve runs on another loop than its server only it can reach."""
        return _straight(app, serve, unfit) if asyncio.get_running_loop() is loop else serve

    def protocol(*args: Any, **options: Any) -> CoalescingProtocol:
        made = CoalescingProtocol(*args, **options)
        made.app = beside(made.app)
        return made

    return protocol


def _straight(app: ASGIApp, serve: Any, unfit: Callable[[], bool]) -> ASGIApp:
    """serve: what uvicorn was given, uvicorn's middleware around Serve's around a method of the replica."""
    replica = serve.app._app.__self__
    ongoing = replica._metrics_manager
    prefix = (replica._route_prefix or "").rstrip("/")

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(OF_SERVE):
            await (UNFIT if scope["path"] == CHECK and unfit() else serve)(scope, receive, send)
            return
        if prefix:
            scope["root_path"] += prefix
        ongoing.inc_num_ongoing_requests(_COUNTED)
        try:
            await app(scope, receive, send)
        finally:
            ongoing.dec_num_ongoing_requests(_COUNTED)

    return answer
