"""Live sweeps in tests: a gateway made of a few experts on a real socket, and task files.

async with gateway_of(tmp_path, {"name": "a", "backend": "echo"}) as url:
    rows = await sweep(url, tmp_path / "out", task_file(tmp_path, "exact", {"query": "4?", "target": "4"}))
"""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from evals.live.rows import LiveRow
from evals.live.running import run_live
from evals.tasks.registry import load_tasks
from orchestrator.gateway.app import create_app
from tests.support.gateway import served
from tests.support.service import service_of


@asynccontextmanager
async def gateway_of(folder: Path, *experts: dict[str, Any], **sections: Any) -> AsyncIterator[str]:
    async with (
        service_of(folder, *experts, **sections) as service,
        served(create_app(service.gateway_context())) as url,
    ):
        yield url


async def sweep(url: str, out: Path, *tasks: str, **options: Any) -> dict[tuple[str, str], LiveRow]:
    """The rows by task and model. options: of `run_live`."""
    options = {"key": None, "models": None, "limit": None, "concurrency": 2} | options
    rows = await run_live(load_tasks(tasks), url=url, out=out, **options)
    return {(row.task, row.model): row for row in rows}


def write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def task_file(folder: Path, reward: str, *lines: dict[str, Any], name: str = "mine") -> str:
    """A task of these queries, as the command line has it."""
    return f"{name}@{reward}={write_lines(folder / f'{name}.jsonl', lines)}"
