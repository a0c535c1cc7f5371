"""Files of requests for batches, and what came of them: on disk, or in a gateway.

path = write_requests(tmp_path / "in.jsonl", [("a", "Hello"), ("panel/council", "Why?")])
responses(tmp_path / "out.jsonl")["r0"]["body"]

file = await upload(batches, [line("r0")])
batch = await when(batches, batch, "completed")
await rows(batches, batch.output_file_id)
"""

import asyncio
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.bulk.batches import Batches
from orchestrator.bulk.objects import Batch, Expiry, FileObject
from orchestrator.types import Caller

URL = "/v1/chat/completions"
ALICE, BOB = Caller("alice", admin=False), Caller("bob", admin=False)


def line(custom_id: str, model: str = "a", text: str = "Hello", *, url: str = URL, **fields: Any) -> dict[str, Any]:
    """One request; `fields` take the place of the line's own."""
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body, **fields}


def write_lines(path: Path, lines: Sequence[Any]) -> Path:
    """As JSON, or as it is where one is a text already."""
    path.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in lines))
    return path


def write_requests(path: Path, asked: Sequence[tuple[str, str]]) -> Path:
    """`asked`: model and text. Their ids are r0, r1 and so on."""
    return write_lines(path, [line(f"r{i}", model, text) for i, (model, text) in enumerate(asked)])


def responses(path: Path) -> dict[str, Any]:
    """What stands in an output file, by custom_id."""
    return {row["custom_id"]: row["response"] for row in map(json.loads, path.read_text().splitlines())}


def said(response: dict[str, Any]) -> str:
    return response["body"]["choices"][0]["message"]["content"]


async def upload(
    batches: Batches, lines: Sequence[Any], caller: Caller = ALICE, expiry: Expiry | None = None
) -> FileObject:
    data = "".join(json.dumps(each) + "\n" for each in lines).encode()
    await batches.open()
    async with batches.uploads.room(len(data)):
        return await batches.uploads.add(caller, "in.jsonl", io.BytesIO(data), len(data), expiry)


async def when(batches: Batches, batch: Batch, *statuses: str, caller: Caller = ALICE) -> Batch:
    """The batch, once it is so: looked at again and again, as clients do."""
    async with asyncio.timeout(20):
        while (found := await batches.batch(caller, batch.id)).status not in statuses:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


async def rows(batches: Batches, file_id: str, caller: Caller = ALICE) -> list[Any]:
    """What is in a file."""
    _, file = await batches.uploads.contents(caller, file_id)
    with file:
        return [json.loads(row) for row in file]
