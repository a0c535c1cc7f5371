"""Untrusted Python in a process of its own, with limits and an end.

    ran = await run_python("print(6 * 7)")
    ran.code, ran.out                             # (0, '42\\n')

What it stops: endless loops (CPU and wall-clock seconds), memory, large files and output; at the end its whole process group is
killed. Where the kernel lets it (`confinement` says), also the network, starting and signalling processes, and writing outside of a
folder that is gone afterwards. What it does not stop: reading files that the user of this process may read (without
namespaces also the environment of this process, keys and all), and a script that knows
how it is judged from claiming success. It is a fence against accidents and careless code, not a jail for attackers: for those use a
machine of its own. How the process ties its hands is in `confined.py`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.errors import LabelError
from orchestrator.labelling import confined

FENCES = frozenset({"files", "network", "processes"})
"""What `confinement` may name: outside files can't be written, no socket be opened, no process be started or signalled."""

_ENVIRONMENT = {"PATH": os.defpath, "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one run. memory_mb is address space; file_mb is of each file, and of all together where files are fenced."""

    cpu_s: int = 5
    wall_s: float = 10.0
    memory_mb: int = 1024
    file_mb: int = 16
    open_files: int = 64
    output_bytes: int = 1 << 20


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Ran:
    """How a script ended. code: the exit code, negative when a signal ended it. timed_out: the wall-clock limit did."""

    code: int
    out: str
    timed_out: bool = False


async def run_python(script: str, *, stdin: str = "", limits: Limits = DEFAULT_LIMITS) -> Ran:
    """Run `script` to its end, or to a limit. What it prints beyond `output_bytes` ends it."""
    with tempfile.TemporaryDirectory(prefix="switchyard-code-") as folder:
        (Path(folder) / "script.py").write_text(script, encoding="utf-8", errors="replace")
        work = Path(folder) / "work"
        work.mkdir()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", confined.__file__, json.dumps(asdict(limits)), f"{folder}/script.py"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=work,
            env={**_ENVIRONMENT, "HOME": str(work), "TMPDIR": str(work)},
            start_new_session=True,
        )
        out = bytearray()
        timed_out = False
        try:
            async with asyncio.timeout(limits.wall_s):
                await asyncio.gather(_feed(process, stdin), _collect(process, out, limits.output_bytes))
                await process.wait()
        except TimeoutError:
            timed_out = True
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        return Ran(process.returncode or 0, out.decode(errors="replace"), timed_out)


async def confinement() -> frozenset[str]:
    """Which of `FENCES` hold on this machine. Raises `LabelError` when not even an empty script runs: nobody's code would."""
    ran = await run_python("print(*CONFINED)")
    if ran.code:
        raise LabelError(f"the sandbox can't run Python on this machine (exit code {ran.code}, {DEFAULT_LIMITS})")
    return frozenset(ran.out.split())


async def _feed(process: asyncio.subprocess.Process, text: str) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError, ConnectionResetError):  # it does not read what it is told
        process.stdin.write(text.encode(errors="replace"))
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()


async def _collect(process: asyncio.subprocess.Process, into: bytearray, most_bytes: int) -> None:
    assert process.stdout is not None
    while piece := await process.stdout.read(_READ_BYTES):
        into += piece
        if len(into) > most_bytes:
            del into[most_bytes:]
            process.kill()
            return
