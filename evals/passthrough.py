"""The bare pass-through that the gateway is measured against: Starlette and aiohttp, and nothing in between.

    python -m evals.passthrough --port 9001 --upstream http://127.0.0.1:9000

It stands for what Python can do here: the body is not parsed, nobody is authenticated, nothing is routed or recorded.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route


def create_app(upstream: str) -> Starlette:
    """An app that sends every POST on to `upstream` and its answer back."""
    session: aiohttp.ClientSession

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        nonlocal session
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            yield

    async def forward(request: Request) -> Response:
        body = await request.body()
        headers = {"content-type": "application/json"}
        response = await session.post(upstream + request.url.path, data=body, headers=headers)
        if response.content_type == "text/event-stream":
            return StreamingResponse(response.content.iter_any(), media_type="text/event-stream")
        return Response(await response.read(), response.status, media_type=response.content_type)

    return Starlette(routes=[Route("/{path:path}", forward, methods=["POST"])], lifespan=lifespan)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    arguments = parser.parse_args()
    app = create_app(arguments.upstream)
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, access_log=False, log_level="warning")
