"""One expert's whole answer, under a lease of its own, for whoever has to look at it before anybody else does.

    said = await asker.ask(query, "small", fleet, decision, purpose="answer")
    said.text, said.tokens                      # what the client would read, and its log-probabilities
    answer = said.answer(query.body)            # as the client asked for it: one body, or the same stream again

Not here: what follows from it (`cascading.py`, `assessing.py`), and who may be asked (`planning.py`).
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from orchestrator.aggregators.budget import Budget
from orchestrator.experts.folding import fold
from orchestrator.experts.logprobs import Token, as_asked, tokens_of, with_logprobs
from orchestrator.experts.sse import DONE, Framer, data_of
from orchestrator.fleet.snapshot import Fleet
from orchestrator.routing.recording import absorb, open_decision, settle
from orchestrator.scheduler.base import Lease, Leases
from orchestrator.types import Answer, Decision, Purpose, Query, Usage
from routers.confidence import yes_share
from routers.policy import Choice, Plan

if TYPE_CHECKING:
    from orchestrator.routing.dispatch import Dispatcher


@dataclass(frozen=True, slots=True)
class Said:
    """body: the whole answer, decoded. blocks: the stream that it came in, if a stream was asked for. usd: what it cost."""

    expert: str
    body: Mapping[str, Any]
    blocks: tuple[bytes, ...] | None
    usage: Usage
    usd: float = 0.0

    @property
    def choice(self) -> Mapping[str, Any]:
        """The first choice; empty when there is none."""
        choices: Sequence[Mapping[str, Any]] = self.body.get("choices") or ({},)
        return choices[0]

    @property
    def text(self) -> str:
        return (self.choice.get("message") or {}).get("content") or self.choice.get("text") or ""

    @property
    def tool_calls(self) -> Sequence[Mapping[str, Any]]:
        return (self.choice.get("message") or {}).get("tool_calls") or ()

    @property
    def tokens(self) -> list[Token]:
        return tokens_of(self.choice)

    def answer(self, body: Mapping[str, Any]) -> Answer:
        """As `body`, the client's, asked for it."""
        if self.blocks is None:
            whole = as_asked(msgspec.json.decode(msgspec.json.encode(self.body)), body)
            return Answer(body=msgspec.json.encode(whole), usage=self.usage)
        return Answer(events=_again(_events(self.blocks, body)), usage=self.usage)


class Asker:
    """Asks through the dispatcher, which knows leases and errors."""

    def __init__(self, dispatcher: Dispatcher, scheduler: Leases) -> None:
        self._dispatcher = dispatcher
        self._scheduler = scheduler

    async def ask(
        self,
        query: Query,
        expert: str,
        fleet: Fleet,
        decision: Decision,
        *,
        purpose: Purpose,
        budget: Budget | None = None,
    ) -> Said:
        """What `expert` says to `query`, tried once. What that took is put down in `decision`, however it ends.

        budget: of the panel that asks, from which one that is asked spends. Raises `SwitchyardError`. Cancelling it cancels the
        expert.
        """
        part = open_decision(query)
        try:
            plan = Plan((Choice(expert, 0.0),))
            answer, lease = await self._dispatcher.ask(query, fleet, plan, part, max_attempts=1, budget=budget)
            return await self._heard(answer, lease, fleet, part)
        finally:
            absorb(decision, part, purpose)

    async def open(
        self,
        query: Query,
        expert: str,
        fleet: Fleet,
        decision: Decision,
        *,
        purpose: Purpose,
        budget: Budget | None = None,
    ) -> Answer:
        """As `ask`, but for the answer as it comes: what it took is put down when its stream ends or is closed."""
        part = open_decision(query)
        try:
            plan = Plan((Choice(expert, 0.0),))
            answer, lease = await self._dispatcher.ask(query, fleet, plan, part, max_attempts=1, budget=budget)
        finally:
            absorb(decision, part, purpose)
        began = time.monotonic()

        def over(failure: BaseException | None) -> None:
            settle(self._scheduler, fleet, lease, answer, decision, began, failure)

        if answer.events is None:
            over(None)
            return answer
        events = _closing(answer.events, over)
        await anext(events)
        return replace(answer, events=events)

    async def ask_yes(
        self,
        query: Query,
        messages: Sequence[Mapping[str, Any]],
        expert: str,
        fleet: Fleet,
        decision: Decision,
        *,
        purpose: Purpose,
    ) -> float | None:
        """How likely `expert` is to say yes rather than no to `messages`, by one token; None when it would say neither.

        query: on whose behalf it is asked. Raises as `ask`.
        """
        body = with_logprobs(
            {"model": query.model, "messages": messages, "max_tokens": 1, "temperature": 0}, "chat", 20
        )
        asked = replace(query, kind="chat", body=body, num_answers=1)
        said = await self.ask(asked, expert, fleet, decision, purpose=purpose)
        return yes_share(said.tokens[0].alternatives) if said.tokens else None

    async def _heard(self, answer: Answer, lease: Lease, fleet: Fleet, part: Decision) -> Said:
        """The answer to its end."""
        began, failure = time.monotonic(), None
        try:
            blocks = None if answer.events is None else tuple([block async for block in answer.events])
        except BaseException as error:  # whatever ends the answer ends the lease
            failure = error
            raise
        finally:
            await answer.aclose()
            settle(self._scheduler, fleet, lease, answer, part, began, failure)
            heard_s = time.monotonic() - began
            part.attempts[-1] = replace(part.attempts[-1], latency_s=part.attempts[-1].latency_s + heard_s)
        whole = answer if blocks is None else await fold(Answer(events=_again(blocks)), num_prompts=1)
        return Said(lease.expert, msgspec.json.decode(whole.body or b"{}"), blocks, answer.usage, part.cost_usd)


def _events(blocks: Sequence[bytes], body: Mapping[str, Any]) -> list[bytes]:
    """The events of a stream, one a block, without what the client did not ask for."""
    framer, events = Framer(), []
    for block in blocks:
        for event in framer.feed(block):
            data = data_of(event)
            if data == b"[DONE]":
                events.append(DONE)
            elif data:
                chunk = as_asked(msgspec.json.decode(data), body)
                events.append(b"data: " + msgspec.json.encode(chunk) + b"\n\n")
    return events


async def _closing(
    events: AsyncGenerator[bytes, None], over: Callable[[BaseException | None], None]
) -> AsyncGenerator[bytes, None]:
    """The same blocks, preceded by an empty one: once that was taken, `over` is called with what ended them, or None."""
    failure: BaseException | None = None
    try:
        yield b""
        async for block in events:
            yield block
    except BaseException as error:  # whatever ends the stream ends the lease
        failure = error
        raise
    finally:
        await events.aclose()
        over(failure)


async def _again(blocks: Sequence[bytes]) -> AsyncGenerator[bytes, None]:
    for block in blocks:
        yield block
