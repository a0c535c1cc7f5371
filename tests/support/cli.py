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


COMMAND = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from orchestrator.cli import main; main()"
)
"""A shell's background job, which these tests may be, ignores SIGINT, and a child inherits that."""


async def start_switchyard(*args: str, cwd: Path, **env: str) -> asyncio.subprocess.Process:
    """`switchyard ARGS` in `cwd`, with `env` added to the environment, for the caller to wait for."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COMMAND, *args),
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "120", "NO_COLOR": "1", **env},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def switchyard(*args: str, cwd: Path, **env: str) -> Result:
    """Run `switchyard ARGS` to its end."""
    process = await start_switchyard(*args, cwd=cwd, **env)
    out, err = await process.communicate()
    return Result(process.returncode or 0, out.decode(), err.decode())
