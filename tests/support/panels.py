"""A table whose experts say what a test tells them to: no scheduler, no HTTP.

    table = make_table({"a": "42", "b": ValueError(...), "c": lambda messages: "48"}, judge="a")
    combined = await Vote().combine(table)
    table.colleagues.asked                        # [("a", {"messages": [...]}), ...] in the order they were asked

An expert's script is a text, a `SwitchyardError` to raise, None to hang until it is cancelled, a list of these for one question
after another (the last one stays), or a function of the messages that returns one.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from orchestrator.aggregators.budget import Budget
from orchestrator.aggregators.colleagues import Heard
from orchestrator.aggregators.table import Table
from orchestrator.config import EchoSpec, ExpertBase, Price
from orchestrator.errors import SwitchyardError
from orchestrator.types import Answer, Call, Capability, Endpoint, Messages, Purpose, Statement, Usage

Say = str | SwitchyardError | None
Script = Say | Sequence[Say] | Callable[[Messages], Say]


@dataclass
class ScriptedColleagues:
    """scripts: by expert. logprobs: experts that have them; what they say then is certain. waits: seconds, by expert.

    usd_per_call: its price; costs_usd: what it comes to, where that is something else. specs: of experts that are no echo.
    endpoint: of everybody's server. seated: who holds a seat now.
    """

    scripts: Mapping[str, Script]
    logprobs: frozenset[str] = frozenset()
    expected: Mapping[str, float] | Callable[[str | None], Mapping[str, float]] = field(default_factory=dict)
    waits: Mapping[str, float] = field(default_factory=dict)
    usd_per_call: float = 0.0
    costs_usd: float | None = None
    context: int | None = None
    asked: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    transcript: list[Statement] = field(default_factory=list)
    progress: list[str] = field(default_factory=list)
    charged: list[tuple[str, Usage]] = field(default_factory=list)
    specs: Mapping[str, ExpertBase] = field(default_factory=dict)
    endpoint: Endpoint | None = None
    seated: list[str] = field(default_factory=list)
    sharing: list[str] = field(default_factory=list)
    full: frozenset[str] = frozenset()
    formless: frozenset[str] = frozenset()

    def spec(self, expert: str) -> ExpertBase:
        if expert in self.specs:
            return self.specs[expert]
        capabilities: frozenset[Capability] = frozenset({"logprobs"} if expert in self.logprobs else ())
        return EchoSpec(
            name=expert,
            backend="echo",
            capabilities=capabilities,
            context=self.context,
            price=Price(output=1e6 * self.usd_per_call),
        )

    def infeasible_because(self, expert: str, body: Mapping[str, Any]) -> str | None:
        """A word is a token here. Who is `formless` keeps to no `response_format`."""
        if expert in self.formless and body.get("response_format"):
            return "lacks json_schema"
        words = sum(len(str(message["content"]).split()) for message in body["messages"])
        needed = words + (body.get("max_completion_tokens") or body.get("max_tokens") or 0)
        return f"needs {needed} tokens" if self.context is not None and needed > self.context else None

    def most_usd(self, expert: str, body: Mapping[str, Any]) -> float:
        return self.usd_per_call

    def by_wait(self, experts: Sequence[str]) -> tuple[str, ...]:
        return tuple(sorted(experts, key=lambda expert: self.waits.get(expert, 0.0)))

    async def ask(self, expert: str, body: Mapping[str, Any], *, purpose: Purpose, budget: Budget) -> Heard:
        said = self._next(expert, body["messages"])
        self.asked.append((expert, body))
        if isinstance(said, SwitchyardError):
            raise said
        if said is None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.append(expert)
                raise
        assert said is not None
        await asyncio.sleep(0)
        certain = {said.split()[0]: math.log(1.0)} if body.get("logprobs") and said.split() else {}
        return Heard(said, self.usd_per_call if self.costs_usd is None else self.costs_usd, "stop", certain)

    async def open(self, expert: str, body: Mapping[str, Any], *, purpose: Purpose, budget: Budget) -> Answer:
        raise NotImplementedError("aggregators don't open answers; panels do")

    async def scores(self, router: str, experts: Sequence[str], text: str | None = None) -> Mapping[str, float]:
        return self.expected(text) if callable(self.expected) else self.expected

    @asynccontextmanager
    async def seat(self, expert: str, *, purpose: Purpose) -> AsyncIterator[Endpoint | None]:
        if expert in self.full:
            await asyncio.Event().wait()
        self.seated.append(expert)
        try:
            yield self.endpoint
        finally:
            self.seated.remove(expert)

    @contextmanager
    def share(self, expert: str, *, purpose: Purpose) -> Iterator[None]:
        self.sharing.append(expert)
        try:
            yield
        finally:
            self.sharing.remove(expert)

    def charge(self, expert: str, usage: Usage) -> None:
        self.charged.append((expert, usage))

    def note(self, statement: Statement) -> None:
        self.transcript.append(statement)

    def say(self, progress: str) -> None:
        self.progress.append(progress)

    def _next(self, expert: str, messages: Messages) -> Say:
        script = self.scripts[expert]
        if callable(script):
            return script(messages)
        if isinstance(script, str | SwitchyardError) or script is None:
            return script
        turn = sum(who == expert for who, _ in self.asked)
        return script[min(turn, len(script) - 1)]


class ScriptedTable(Table):
    """A table that shows its colleagues to the test."""

    colleagues: ScriptedColleagues


def make_table(
    scripts: Mapping[str, Script],
    *,
    members: Sequence[str] | None = None,
    judge: str | None = None,
    question: str = "What is 6 x 7?",
    body: Mapping[str, Any] | None = None,
    quorum: int = 1,
    timeout_s: float = 30.0,
    calls: int | None = None,
    usd: float | None = None,
    seconds: float | None = None,
    seed: int = 0,
    **colleagues: Any,
) -> ScriptedTable:
    """members: everyone but the judge by default, everyone without a judge. colleagues: fields of `ScriptedColleagues`."""
    around = ScriptedColleagues(scripts, **colleagues)
    seated = tuple(scripts) if judge is None else tuple(name for name in scripts if name != judge)
    table = ScriptedTable(
        around,
        Call("chat", {"messages": [{"role": "user", "content": question}], **(body or {})}, time.monotonic() + 60),
        question,
        seated if members is None else members,
        judge=judge or seated[0],
        budget=Budget(calls=calls, usd=usd),
        dice=random.Random(seed),
        quorum=quorum,
        timeout_s=timeout_s,
        until=None if seconds is None else time.monotonic() + seconds,
        router="default" if around.expected else None,
    )
    table.colleagues = around
    return table
