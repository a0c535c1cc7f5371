"""/admin/experts: what the scheduler knows of each expert, and loading or unloading one by hand. Needs a key with `admin`.

    curl -X POST http://127.0.0.1:8700/admin/experts/smollm2/warm     # returns when its weights are in memory

Who leaves before that gives up waiting, no more: what has begun to load goes on, and so does an unloading.

Not here: changing the fleet, which is done by editing experts.yaml.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from orchestrator.errors import Forbidden, NotFound
from orchestrator.gateway.http import Request
from orchestrator.gateway.streaming import ClientWatch
from orchestrator.scheduler.base import ExpertStatus, MemoryStatus
from orchestrator.scheduler.summary import by_expert


class ExpertList(Struct):
    data: tuple[ExpertStatus, ...]
    memory: MemoryStatus
    object: Literal["list"] = "list"


async def list_experts(request: Request) -> None:
    _require_admin(request)
    scheduler = request.context.scheduler
    await request.respond_json(ExpertList(scheduler.status(), scheduler.memory()))


async def warm(request: Request) -> None:
    name = _expert(request)
    with ClientWatch(request):
        await request.context.scheduler.warm(name)
    await request.respond_json(_status(request, name))


async def unload(request: Request) -> None:
    name = _expert(request)
    with ClientWatch(request):
        await request.context.scheduler.unload(name)
    await request.respond_json(_status(request, name))


def _expert(request: Request) -> str:
    _require_admin(request)
    name = request.path_params["expert"]
    if name not in request.context.config().by_name:
        raise NotFound(f"There is no expert {name!r}.", param="expert")
    return name


def _status(request: Request, name: str) -> ExpertStatus:
    status = by_expert(request.context.scheduler.status()).get(name)
    if status is not None:
        return status
    raise NotFound(f"The expert {name!r} is gone.", param="expert")


def _require_admin(request: Request) -> None:
    if not request.caller.admin:
        raise Forbidden("This key may not use /admin.")
