"""One server put to sleep and woken, in the order that its command says.

    sleeper = Sleeper("qwen", command.sleep, control, timeout_s=300.0)
    await sleeper.remember()                      # once, when it is ready: what it says when it is well
    await sleeper.fall_asleep()
    await sleeper.wake_up()                       # returns when it says the same again

A server that was woken in the wrong order, or whose weights were not read again, answers with 200 and noise; only what it says
can tell. Not here: when to sleep (the scheduler), and what becomes of a server that could not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import msgspec

from orchestrator.engines.asking import Control, Reply
from orchestrator.errors import ExpertError
from orchestrator.experts.base import Sleep, Step

POLL_S = 0.05


class _Choice(msgspec.Struct):
    text: str


class _Completion(msgspec.Struct):
    """What is read of OpenAI's answer to `/v1/completions`."""

    choices: list[_Choice]


class _State(msgspec.Struct):
    """What is read of vLLM's answer to `/is_sleeping`."""

    is_sleeping: bool


class Sleeper:
    """Each method raises `ExpertError(kind="not_loaded")` when the server doesn't do as it is told, or takes `timeout_s`."""

    def __init__(self, name: str, sleep: Sleep, control: Control, timeout_s: float) -> None:
        self._name = name
        self._sleep = sleep
        self._control = control
        self._timeout_s = timeout_s
        self._said = ""

    async def remember(self) -> None:
        """Ask the canary for the first time."""
        async with self._in_time("answer a first request"):
            self._said = await self._canary()

    async def fall_asleep(self) -> None:
        """Returns when it says that it sleeps."""
        async with self._in_time("fall asleep"):
            await self._do(self._sleep.fall)
            await self._until(sleeping=True)

    async def wake_up(self) -> None:
        """Returns when it answers as it did at first."""
        async with self._in_time("wake up"):
            await self._do(self._sleep.wake)
            await self._until(sleeping=False)
            if (says := await self._canary()) != self._said:
                raise self._error(f"woke up wrong: it says {says!r} where it said {self._said!r}")

    @asynccontextmanager
    async def _in_time(self, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except TimeoutError as exc:
            raise self._error(f"did not {what} within {self._timeout_s:g} s") from exc

    async def _do(self, steps: Iterable[Step]) -> None:
        for path, body in steps:
            self._checked(path, await self._control.ask(path, body))

    async def _until(self, *, sleeping: bool) -> None:
        while await self._sleeps() != sleeping:  # noqa: ASYNC110 - a server tells nobody when it is done
            await asyncio.sleep(POLL_S)

    async def _sleeps(self) -> bool:
        path = self._sleep.sleeping
        reply = self._checked(path, await self._control.ask(path))
        try:
            return msgspec.json.decode(reply.body, type=_State).is_sleeping
        except msgspec.DecodeError as exc:
            raise self._error(f"does not say at {path} whether it sleeps") from exc

    async def _canary(self) -> str:
        path, body = self._sleep.canary
        reply = self._checked(path, await self._control.ask(path, body))
        try:
            said = msgspec.json.decode(reply.body, type=_Completion).choices[0].text
        except (msgspec.DecodeError, IndexError) as exc:
            raise self._error(f"answered no completion to {path}") from exc
        if not said.strip():
            raise self._error("has nothing to say")
        return said

    def _checked(self, path: str, reply: Reply) -> Reply:
        if not reply.ok:
            raise self._error(f"answered {reply} to {path}")
        return reply

    def _error(self, problem: str) -> ExpertError:
        return ExpertError(self._name, "not_loaded", f"its server {problem}")
