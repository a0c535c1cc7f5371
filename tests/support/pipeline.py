"""Hand-written stand-ins for what the gateway talks to: a pipeline that says what it is told to, a scheduler, a ledger.

pipeline = FakePipeline(events=[b"data: {}\n\n", b"data: [DONE]\n\n"])
pipeline.gate.clear()                         # hold every answer until gate.set()
await pipeline.aborted.wait()                 # somebody was cancelled, or closed a stream early
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import NotFound
from orchestrator.scheduler.base import ExpertStatus, Lease, LeaseOutcome, LeaseRequest, MemoryStatus, Position, Weighed
from orchestrator.types import Decision, Feedback, Kind, Query

BODY = (
    b'{"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "small", "choices": '
    b'[{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}]}'
)


@dataclass
class FakeReply:
    decision: Decision
    body: bytes | None = None
    events: AsyncGenerator[bytes, None] | None = None


@dataclass
class FakePipeline:
    """body: the whole answer. events: the blocks of a stream; an exception among them is raised. error: raised at once.

    gate: closed, it holds answers; step: closed, it holds a stream after each block.
    """

    body: bytes = BODY
    events: Sequence[bytes | Exception] = ()
    error: Exception | None = None
    queries: list[Query] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    step: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    aborted: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()
        self.step.set()

    async def answer(self, query: Query, present: Callable[[Decision, bytes], bytes]) -> FakeReply:
        self.queries.append(query)
        self.asked.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.aborted.set()
            raise
        if self.error is not None:
            raise self.error
        decision = make_decision(query)
        if query.stream:
            return FakeReply(decision, events=self._stream())
        return FakeReply(decision, body=present(decision, self.body))

    async def route(self, query: Query) -> Decision:
        self.queries.append(query)
        return make_decision(query)

    async def _stream(self) -> AsyncGenerator[bytes, None]:
        finished = False
        try:
            for event in self.events:
                if isinstance(event, Exception):
                    raise event
                yield event
                await asyncio.sleep(0)
                await self.step.wait()
            finished = True
        finally:
            if not finished:
                self.aborted.set()


def make_decision(query: Query) -> Decision:
    return Decision(
        id=query.id,
        created_at=1_700_000_000.0,
        kind=query.kind,
        model=query.model,
        policy="auto",
        text=query.text,
        key_id=query.caller.key_id,
        expert="small",
        plan=("small", "large"),
        scores={"small": 0.8, "large": 0.9},
        reason="small has the highest utility of 2",
        overhead_ms=0.25,
        wait_ms=1.5,
        prompt_tokens=10,
        completion_tokens=5,
        status=200,
    )


@dataclass
class FakeScheduler:
    positions: dict[str, Position] = field(default_factory=dict)
    default_position: Position | None = None
    statuses: list[ExpertStatus] = field(default_factory=list)
    memory_status: MemoryStatus = field(default_factory=lambda: MemoryStatus(0, 0, 0, 0))
    calls: list[tuple[str, str]] = field(default_factory=list)

    async def acquire(self, request: LeaseRequest) -> Lease:
        raise NotImplementedError

    def release(self, lease: Lease, outcome: LeaseOutcome) -> None:
        raise NotImplementedError

    def weigh(self, experts: Iterable[str]) -> Weighed:
        return Weighed(dict.fromkeys(experts, 0.0), {})

    def position(self, request_id: str) -> Position | None:
        return self.default_position

    def status(self) -> tuple[ExpertStatus, ...]:
        return tuple(self.statuses)

    def memory(self) -> MemoryStatus:
        return self.memory_status

    async def warm(self, expert: str) -> None:
        self.calls.append(("warm", expert))

    async def unload(self, expert: str) -> None:
        self.calls.append(("unload", expert))

    async def close(self) -> None:
        pass


@dataclass
class FakeLedger:
    decisions: dict[str, Decision] = field(default_factory=dict)
    given: list[Feedback] = field(default_factory=list)

    async def open(self) -> None:
        pass

    def record(self, decision: Decision) -> None:
        self.decisions[decision.id] = decision

    async def decision(self, decision_id: str) -> Decision | None:
        return self.decisions.get(decision_id)

    async def feedback(self, feedback: Feedback) -> None:
        if feedback.decision_id not in self.decisions:
            raise NotFound("no such decision")
        self.given.append(feedback)

    async def collection(self, key_id: str, kind: Kind, name: str) -> str | None:
        return None

    async def create_collection(self, key_id: str, kind: Kind, name: str, expert: str) -> str:
        return expert

    async def outcomes(self) -> AsyncGenerator[dict[str, Any], None]:
        for decision in self.decisions.values():
            yield {"id": decision.id}

    async def close(self) -> None:
        pass


def make_status(expert: str, state: str = "ready", **overrides: Any) -> ExpertStatus:
    """An expert nobody waits for; `overrides` are fields of `ExpertStatus`."""
    quiet: dict[str, Any] = {"leases": 0, "waiting": 0, "expected_wait_s": 0.0, "memory_bytes": 0, "loads": 0}
    return ExpertStatus(**({"expert": expert, "state": state, "breaker": "closed"} | quiet | overrides))
