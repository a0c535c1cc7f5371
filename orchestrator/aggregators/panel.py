"""Asks the members of a panel at once, waits for as many as its aggregator needs, and combines what they said.

    combined = await run_panel(spec, "What is 6 x 7?", ask, make_aggregator(spec.aggregator))

`ask` answers for one expert, or raises `SwitchyardError`; the pipeline hands it in, so that nothing here knows leases or HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from orchestrator.aggregators.base import Aggregator, Combined, MemberAnswer
from orchestrator.config import PanelSpec
from orchestrator.errors import (
    AllExpertsFailed,
    DeadlineExceeded,
    NoCapacity,
    RateLimited,
    RequestError,
    SwitchyardError,
)

Ask = Callable[[str], Awaitable[MemberAnswer]]


async def run_panel(spec: PanelSpec, question: str, ask: Ask, aggregator: Aggregator) -> Combined:
    """The combined answer, once a quorum has spoken (an eager aggregator), all have, or `timeout_s` is over.

    Members that are still at it then are cancelled. Without a quorum of usable answers it raises what the others failed of, if
    that is one thing (the request itself, rate limits, the deadline, a shutdown), and `AllExpertsFailed` if it isn't.
    """
    enough = spec.quorum if aggregator.eager else len(spec.experts)
    members = await _ask_all(spec, ask, enough)
    usable = [member for member in members if member.usable]
    missing = {member.expert: member.error or "an empty answer" for member in members if not member.usable}
    if len(usable) < spec.quorum:
        causes = [member.cause for member in members if not member.usable]
        raise _common(causes) or AllExpertsFailed(_no_quorum(spec, len(usable), missing))
    return replace(await aggregator.combine(question, usable), missing=missing)


async def _ask_all(spec: PanelSpec, ask: Ask, enough: int) -> list[MemberAnswer]:
    """One entry per member, in the panel's order, when `enough` of them are usable or the time is over."""
    until = time.monotonic() + spec.timeout_s
    tasks = [asyncio.create_task(_ask_one(ask, expert)) for expert in spec.experts]
    pending = set(tasks)
    try:
        while pending and _num_usable(tasks) < enough and (left_s := until - time.monotonic()) > 0:
            _, pending = await asyncio.wait(pending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    late = "was not waited for" if _num_usable(tasks) >= enough else f"no answer within {spec.timeout_s:g} s"
    return [
        MemberAnswer(expert, "", late) if task.cancelled() else task.result()
        for expert, task in zip(spec.experts, tasks, strict=True)
    ]


async def _ask_one(ask: Ask, expert: str) -> MemberAnswer:
    began = time.monotonic()
    try:
        answer = await ask(expert)
    except SwitchyardError as error:
        answer = MemberAnswer(expert, "", error.message, cause=error)
    return replace(answer, elapsed_s=time.monotonic() - began)


def _num_usable(tasks: Sequence[asyncio.Task[MemberAnswer]]) -> int:
    """How many are done with a usable answer. Raises what a member raised that is no failure of an expert."""
    return sum(task.done() and not task.cancelled() and task.result().usable for task in tasks)


def _common(causes: Sequence[SwitchyardError | None]) -> SwitchyardError | None:
    """The error that stands for all of them. One that ran out of time speaks for a request that has none left."""
    for cause in causes:
        if isinstance(cause, DeadlineExceeded):
            return cause
    for kind in (RateLimited, NoCapacity, RequestError):
        alike = [cause for cause in causes if isinstance(cause, kind)]
        if alike and len(alike) == len(causes):
            return alike[0]
    return None


def _no_quorum(spec: PanelSpec, num_usable: int, missing: dict[str, str]) -> str:
    reasons = "; ".join(f"{expert}: {why}" for expert, why in missing.items())
    return f"{num_usable} of {len(spec.experts)} members answered, and {spec.quorum} are needed ({reasons})"
