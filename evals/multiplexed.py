"""What Ray's own users would write instead: experts behind one endpoint by `@serve.multiplexed`, with Serve's own settings.

    python -m evals.multiplexed --port 9001 --upstream http://127.0.0.1:9000
    curl -H "serve_multiplexed_model_id: expert-1" ...

A client names the expert; nobody is authenticated, nothing is routed or recorded. With `RAY_SERVE_ENABLE_HA_PROXY=1` Serve puts
HAProxy in front of it instead of its default proxy.
"""

from __future__ import annotations

import argparse
import logging
import signal

import aiohttp
import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

MAX_ONGOING = 1_000
"""Serve's default of 5 would be all that is measured."""


class Experts:
    """An expert is a client of the upstream."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream

    @serve.multiplexed(max_num_models_per_replica=3)  # type: ignore[untyped-decorator]
    async def expert(self, model_id: str) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), headers={"content-type": "application/json", "x-expert": model_id}
        )

    async def __call__(self, request: Request) -> Response:
        if request.method == "GET":
            return Response()
        session = await self.expert(serve.get_multiplexed_model_id())
        answer = await session.post(self._upstream + request.url.path, data=await request.body())
        if answer.content_type == "text/event-stream":
            return StreamingResponse(answer.content.iter_any(), media_type="text/event-stream")
        return Response(await answer.read(), answer.status, media_type=answer.content_type)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    arguments = parser.parse_args()
    ray.init("local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    serve.start(
        http_options={"host": "127.0.0.1", "port": arguments.port},
        proxy_location="HeadOnly",
        logging_config={"enable_access_log": False, "log_level": "WARNING"},
    )
    deployment = serve.deployment(max_ongoing_requests=MAX_ONGOING, ray_actor_options={"num_cpus": 0})(Experts)
    serve.run(deployment.bind(arguments.upstream))
    signal.pause()
