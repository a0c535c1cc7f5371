"""A service without a gateway, from a few experts: for tests of what lies behind HTTP.

async with service_of(tmp_path, {"name": "a", "backend": "echo"}) as service:
    reply = await service.pipeline.answer(chat_query("Hello"))
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from orchestrator.pipeline import Reply
from orchestrator.service import Service, running


def write_config(folder: Path, *experts: dict[str, Any], **sections: Any) -> Path:
    """An experts.yaml (JSON is YAML) whose default router prefers the experts in their order."""
    routers = {"default": {"type": "fixed"}, **sections.pop("routers", {})}
    path = folder / "experts.yaml"
    path.write_text(json.dumps({"version": 1, "experts": experts, "routers": routers, **sections}))
    return path


@asynccontextmanager
async def service_of(folder: Path, *experts: dict[str, Any], **sections: Any) -> AsyncIterator[Service]:
    async with running(write_config(folder, *experts, **sections)) as service:
        yield service


def openai_expert(name: str, base_url: str, behaviour: str = "ok", **fields: Any) -> dict[str, Any]:
    """An expert on the scripted upstream that always behaves like this."""
    model = "upstream" if behaviour == "ok" else f"fault-{behaviour}"
    return {"name": name, "backend": "openai", "base_url": base_url, "model": model, **fields}


async def text_of(reply: Reply) -> str:
    """What a reply says, streamed or not."""
    if reply.events is not None:
        blocks = b"".join([block async for block in reply.events])
        chunks = [json.loads(line[6:]) for line in blocks.decode().splitlines() if line.startswith("data: {")]
        deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
        return "".join(delta.get("content") or "" for delta in deltas)
    return json.loads(reply.body)["choices"][0]["message"]["content"]
