"""/v1/batches as OpenAI has it: many requests as one file, answered when there is room, each expert loaded once.

    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    client.batches.retrieve(batch.id).request_counts

Not here: how they are run (`orchestrator/bulk/batches.py`).
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from orchestrator.bulk.objects import Batch, BatchRequest
from orchestrator.bulk.store import Page
from orchestrator.gateway.files import PageQuery, cut, opened
from orchestrator.gateway.http import Request
from orchestrator.gateway.validation import validate

MOST_BATCHES = 100
SHOWN = 20


class BatchList(Struct):
    data: list[Batch]
    has_more: bool
    first_id: str | None
    last_id: str | None
    object: Literal["list"] = "list"


async def create(request: Request) -> None:
    batches = await opened(request)
    wanted = validate(BatchRequest, await request.json())
    await request.respond_json(await batches.create(request.caller, wanted))


async def list_batches(request: Request) -> None:
    batches = await opened(request)
    asked = PageQuery(request)
    page = Page(asked.limit(MOST_BATCHES, SHOWN) + 1, asked.text("after"))
    found, has_more = cut(await batches.batches(request.caller, page), page)
    ends = (found[0].id, found[-1].id) if found else (None, None)
    await request.respond_json(BatchList(found, has_more, *ends))


async def get_batch(request: Request) -> None:
    batches = await opened(request)
    await request.respond_json(await batches.batch(request.caller, request.path_params["batch"]))


async def cancel(request: Request) -> None:
    """It is `cancelling` until its files are written."""
    batches = await opened(request)
    await request.respond_json(await batches.cancel(request.caller, request.path_params["batch"]))
