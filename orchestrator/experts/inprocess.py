"""What every expert that answers in this process has around it: its parameter map, and the request's deadline.

expert = InProcessExpert(spec, respond)       # respond: an async function, Call -> Answer
await expert.answer(call)                     # ExpertError("timeout") when the deadline comes first

An answer made here is whole when it begins, so `timeouts`, which are for servers, say nothing about it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from orchestrator.config import ExpertBase
from orchestrator.errors import ExpertError
from orchestrator.experts.parameters import Parameters
from orchestrator.types import Answer, Call


class InProcessExpert:
    """Hands the call on to `respond`, which sees it with the parameter map applied and is cancelled at the deadline."""

    def __init__(self, spec: ExpertBase, respond: Callable[[Call], Awaitable[Answer]]) -> None:
        self._name = spec.name
        self._parameters = Parameters(spec.name, spec.parameters)
        self._respond = respond

    async def answer(self, call: Call) -> Answer:
        call = replace(call, body=self._parameters.apply(call.body))
        try:
            async with asyncio.timeout(call.deadline - time.monotonic()):
                return await self._respond(call)
        except TimeoutError as exc:
            raise ExpertError(self._name, "timeout", f"{self._name} did not answer in time") from exc
