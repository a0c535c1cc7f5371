"""The `switchyard` command in a process of its own, as a user runs it."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


async def switchyard(*args: str, cwd: Path, **env: str) -> Result:
    """Run `switchyard ARGS` in `cwd` with `env` added to the environment."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from orchestrator.cli import main; main()",
        *args,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "120", "NO_COLOR": "1", **env},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Result(process.returncode or 0, out.decode(), err.decode())
