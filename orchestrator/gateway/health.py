"""GET /healthz (alive), GET /readyz (may be sent requests), GET /metrics.

    curl -i http://127.0.0.1:8700/readyz          # 200 {"status": "ready"}

Ready means: not shutting down, the scheduler is there, and loads progress while work waits (`readiness.py`). Experts may be cold.
What is measured is in `metrics.py`.
"""

from __future__ import annotations

import time

from orchestrator.errors import NoCapacity
from orchestrator.gateway.context import GatewayContext
from orchestrator.gateway.http import Request
from orchestrator.gateway.metrics import CONTENT_TYPE


async def healthz(request: Request) -> None:
    await request.respond_json({"status": "ok"})


async def readyz(request: Request) -> None:
    problem = _problem(request.context)
    if problem is not None:
        raise NoCapacity(f"Not ready: {problem}.", retry_after_s=1.0)
    await request.respond_json({"status": "ready"})


async def metrics(request: Request) -> None:
    context = request.context
    text = context.metrics.render(await context.measured())
    await request.respond(text, content_type=(b"content-type", CONTENT_TYPE))


def _problem(context: GatewayContext) -> str | None:
    if context.lifecycle.draining:
        return "shutting down"
    if (problem := context.unready()) is not None:
        return problem
    load_s = {spec.name: spec.timeouts.load_s for spec in context.config().experts}
    return context.readiness.problem(context.scheduler.status(), load_s, time.monotonic())
