"""Holds an expert in this process to the deadline of its call.

    async with before_deadline(call, "echo"):
        await asyncio.sleep(latency_s)            # ExpertError("timeout") when the deadline comes first
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrator.errors import ExpertError
from orchestrator.types import Call


@asynccontextmanager
async def before_deadline(call: Call, expert: str) -> AsyncIterator[None]:
    """Cancel what is inside at the call's deadline, and raise `ExpertError` of kind `timeout`."""
    try:
        async with asyncio.timeout(call.deadline - time.monotonic()):
            yield
    except TimeoutError as exc:
        raise ExpertError(expert, "timeout", f"{expert} did not answer before the deadline") from exc
