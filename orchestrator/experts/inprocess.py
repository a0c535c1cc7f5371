"""What every expert that answers in this process has around it: its parameter map, and the time it is given.

expert = InProcessExpert(spec, respond)       # respond: an async function, Call -> Answer
await expert.answer(call)                     # ExpertError("timeout") when its time is over first
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from orchestrator.config import ExpertBase
from orchestrator.errors import ExpertError
from orchestrator.experts.parameters import Parameters
from orchestrator.types import Answer, Call


class InProcessExpert:
    """Hands the call on to `respond`, which sees it with the parameter map applied and is cancelled when its time is over."""

    def __init__(self, spec: ExpertBase, respond: Callable[[Call], Awaitable[Answer]]) -> None:
        self._name = spec.name
        self._parameters = Parameters(spec.name, spec.parameters)
        self._respond = respond
        self._first_byte_s = spec.timeouts.first_byte_s

    async def answer(self, call: Call) -> Answer:
        call = replace(call, body=self._parameters.apply(call.body))
        try:
            async with asyncio.timeout(min(self._first_byte_s, call.deadline - time.monotonic())):
                return await self._respond(call)
        except TimeoutError as exc:
            raise ExpertError(self._name, "timeout", f"{self._name} did not answer in time") from exc
