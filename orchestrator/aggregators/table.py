"""One sitting of a panel: who is there, how they are asked, what it may cost, and what was said.

    answers = await table.answers()                                   # the client's own question, to all members at once
    verdict = await table.ask(table.judge, prompts.messages("judge", ...), round="judge", max_tokens=8)
    table.missing                                                     # {'slow': 'no answer within 60 s'}

Every question goes through here, so that the budget, the time for a round, cancellation, the transcript and the notes for a
waiting client are in one place. Not here: leases and retries (`orchestrator/routing/colleagues.py`), and what is asked.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

from orchestrator.aggregators.base import MemberAnswer
from orchestrator.aggregators.budget import Budget, BudgetSpent, Spent
from orchestrator.aggregators.colleagues import Colleagues, Heard
from orchestrator.aggregators.reading.usable import why_unusable
from orchestrator.aggregators.reading.verdicts import shares
from orchestrator.config import ExpertBase
from orchestrator.errors import NoQuorum, RequestError, SwitchyardError
from orchestrator.types import Call, Endpoint, Messages, Purpose, Statement, Usage


class Table:
    """call: the client's. members: who may be asked it, at least a quorum. judge: who aggregates; any expert of the fleet.

    timeout_s: seconds for each round. until: monotonic seconds when the last round ends, with the client's deadline by default.
    dice: the one source of chance.
    router: of the fleet, whose scores say how strong each member is on this query; None where the panel names none.
    """

    def __init__(
        self,
        colleagues: Colleagues,
        call: Call,
        question: str,
        members: Sequence[str],
        *,
        judge: str,
        budget: Budget,
        dice: random.Random,
        quorum: int = 1,
        timeout_s: float = 60.0,
        until: float | None = None,
        router: str | None = None,
    ) -> None:
        self.call = call
        self.question = question
        self.members = tuple(members)
        self.judge = judge
        self.budget = budget
        self.dice = dice
        self.quorum = quorum
        self.missing: dict[str, str] = {}
        self._causes: dict[str, SwitchyardError | None] = {}
        self._finish_reasons: dict[str, str | None] = {}
        self._colleagues = colleagues
        self._timeout_s = timeout_s
        self.until = call.deadline if until is None else min(until, call.deadline)
        self._router = router

    @property
    def timeout_s(self) -> float:
        """Seconds for each round."""
        return self._timeout_s

    @property
    def messages(self) -> Messages:
        """The client's conversation; a plain prompt as a user's message."""
        if self.call.kind == "chat":
            messages: Messages = self.call.body["messages"]
            return messages
        return [{"role": "user", "content": self.question}]

    async def answers(self, members: Sequence[str] | None = None, *, enough: int | None = None) -> list[MemberAnswer]:
        """The usable answers to the client's question, in the panel's order. members: all by default.

        enough: that many usable ones end the round, and the other members are cancelled. What fails, can't be used
        (`usable.py`) or comes too late is in `missing`; what can't be used counts where there is no quorum without it. Raises
        `NoQuorum` when all that were heard are fewer than the panel's quorum.
        """
        heard = await self.hear(self.members if members is None else members, enough=enough)
        quorum = min(self.quorum, len(heard))
        usable = [answer for answer in heard if answer.usable]
        if len(usable) < quorum:
            usable = [replace(answer, error=None) for answer in heard if answer.text.strip()]
            for answer in usable:
                self.missing.pop(answer.expert, None)
        if len(usable) < quorum:
            raise self.no_quorum(len(usable))
        return usable

    async def hear(self, members: Sequence[str], *, enough: int | None = None) -> list[MemberAnswer]:
        """What each of `members` says to the client's question, in their order; unusable answers included, and no quorum needed."""
        return await self._round(dict.fromkeys(members, self._clients_body()), "answers", "answer", enough)

    async def gather(
        self, questions: Mapping[str, Messages], *, round: str, purpose: Purpose = "deliberation", **parameters: Any
    ) -> list[MemberAnswer]:
        """What each expert says to messages of its own, all at once, in the order of `questions`; unusable answers included.

        round: its name in the transcript. parameters: of OpenAI's body (`max_tokens`, `temperature`, ...); the length of the
        client's answer by default.
        """
        bodies = {expert: self._body(messages, parameters) for expert, messages in questions.items()}
        return await self._round(bodies, round, purpose, None)

    async def ask(
        self, expert: str, messages: Messages, *, round: str, purpose: Purpose = "aggregation", **parameters: Any
    ) -> MemberAnswer:
        """What one expert says to `messages`; unusable when it fails."""
        return (await self.gather({expert: messages}, round=round, purpose=purpose, **parameters))[0]

    async def ask_each(
        self, asked: Sequence[tuple[str, Messages]], *, round: str, purpose: Purpose = "deliberation", **parameters: Any
    ) -> list[MemberAnswer]:
        """As `gather`, for experts that are asked more than once: one answer for each of `asked`, in their order."""
        return await self._all(
            [(expert, self._body(messages, parameters)) for expert, messages in asked], round, purpose, None
        )

    async def sample(
        self, expert: str, messages: Messages, count: int, *, round: str, **parameters: Any
    ) -> list[MemberAnswer]:
        """`count` answers of one expert to the same messages, at once."""
        body = self._body(messages, parameters)
        return await self._all([(expert, body)] * count, round, "sample", None)

    async def choose(
        self, expert: str, messages: Messages, options: Sequence[str], *, round: str
    ) -> Mapping[str, float]:
        """How likely `expert` is to answer with each of `options` (letters, `yes`, ...), summing to 1; empty when it fails.

        By the log-probabilities of one token where the expert has them, so that whatever the messages hold can't make it say
        anything else; by what it says otherwise.
        """
        spec = self._colleagues.spec(expert)
        has_logprobs = "logprobs" in spec.capabilities
        parameters: dict[str, Any] = {"max_tokens": 1 if has_logprobs else 16, "temperature": 0}
        if has_logprobs:
            parameters |= {"logprobs": True, "top_logprobs": 20}
        left_s = min(self._timeout_s, self.until - time.monotonic())
        try:
            async with asyncio.timeout(left_s):
                answer, heard = await self._one(expert, self._body(messages, parameters), round, "check")
        except TimeoutError:
            return {}
        if heard is None or (not answer.usable and not heard.alternatives):
            return {}
        return shares(heard.alternatives or {answer.text: 0.0}, options)

    async def scores(self, text: str | None = None) -> Mapping[str, float]:
        """Expected reward of each member by the panel's router; empty without one, or when it fails. text: if not this query."""
        if self._router is None:
            return {}
        try:
            return await self._colleagues.scores(self._router, self.members, text)
        except SwitchyardError:
            return {}

    def spec(self, expert: str) -> ExpertBase:
        return self._colleagues.spec(expert)

    def by_wait(self, experts: Sequence[str]) -> tuple[str, ...]:
        """Those first that would be served soonest now."""
        return self._colleagues.by_wait(experts)

    def fits(self, expert: str, messages: Messages, **parameters: Any) -> bool:
        """Whether the expert could be asked this: its context, the key's scope."""
        return self._colleagues.infeasible_because(expert, self._body(messages, parameters)) is None

    @asynccontextmanager
    async def seat(self, expert: str) -> AsyncIterator[Endpoint | None]:
        """The right to speak with the expert's own server for one answer, which counts as one call.

        What it uses is told by `charge`. Raises `SwitchyardError`, `BudgetSpent`.
        """
        with self.reserve(expert, self._clients_body()):
            async with self._colleagues.seat(expert, purpose="answer") as endpoint:
                yield endpoint

    def affords(self, expert: str) -> bool:
        """Whether the budget has room for putting the client's question to one expert more."""
        if self._colleagues.spec(expert).composite:
            return self.budget.has_room(0)
        return self.budget.has_room(1, self._colleagues.most_usd(expert, self._clients_body()))

    async def write(self, expert: str, body: Mapping[str, Any]) -> Heard:
        """The panel's whole answer, by one expert. Raises `SwitchyardError`, `BudgetSpent`."""
        whole = {name: value for name, value in body.items() if name not in _NOT_FOR_MEMBERS}
        heard = await self._hear_one(expert, whole, "aggregation")
        self.note("final", expert, heard.text)
        return heard

    @contextmanager
    def share(self, expert: str) -> Iterator[None]:
        """A part in the seat that another expert has on the same weights; it counts as one call. Raises `BudgetSpent`."""
        with self.reserve(expert, self._clients_body()), self._colleagues.share(expert, purpose="answer"):
            yield

    def charge(self, expert: str, usage: Usage) -> None:
        """Put down what an expert used that is seated, or shares a seat."""
        self._colleagues.charge(expert, usage)

    @contextmanager
    def reserve(self, expert: str, body: Mapping[str, Any]) -> Iterator[Spent]:
        """Room in the budget for one call, which costs all that it may unless `usd` is set. Raises `BudgetSpent`.

        A panel that sits here as a member spends from this budget by itself.
        """
        composite = self._colleagues.spec(expert).composite
        most_usd = 0.0 if composite else self._colleagues.most_usd(expert, body)
        with self.budget.reserve(usd=most_usd, calls=0 if composite else 1) as spent:
            spent.usd = most_usd
            yield spent

    def note(self, round: str, expert: str, text: str) -> None:
        """Put down in the transcript what did not come through `ask`: a verdict, a merged text."""
        self._colleagues.note(Statement(round, expert, text))

    def say(self, progress: str) -> None:
        """Tell a client that waits, in a line."""
        self._colleagues.say(progress)

    def _body(self, messages: Messages, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """A chat's body. An answer is as long as the client's may be, unless `parameters` say otherwise."""
        limits = {
            name: self.call.body[name] for name in ("max_tokens", "max_completion_tokens") if name in self.call.body
        }
        if "max_tokens" in parameters:
            limits = {}
        given = {name: value for name, value in parameters.items() if value is not None}
        return {"messages": list(messages), **limits, **given}

    def _clients_body(self) -> dict[str, Any]:
        """The client's own body, but for what only the panel's answer can have."""
        return {name: value for name, value in self.call.body.items() if name not in _NOT_FOR_MEMBERS}

    async def _round(
        self, bodies: Mapping[str, Mapping[str, Any]], round: str, purpose: Purpose, enough: int | None
    ) -> list[MemberAnswer]:
        """One answer per expert, in the order of `bodies`; those are asked first that would be served soonest."""
        order = self._colleagues.by_wait(tuple(bodies))
        found = await self._all([(expert, bodies[expert]) for expert in order], round, purpose, enough)
        by_expert = {answer.expert: answer for answer in found}
        return [by_expert[expert] for expert in bodies]

    async def _all(
        self, asked: Sequence[tuple[str, Mapping[str, Any]]], round: str, purpose: Purpose, enough: int | None
    ) -> list[MemberAnswer]:
        """All at once, until `enough` are usable or the time for a round is over; who is still at it then is cancelled."""
        enough = len(asked) if enough is None else enough
        until = min(time.monotonic() + self._timeout_s, self.until)
        tasks = [asyncio.create_task(self._one(expert, body, round, purpose)) for expert, body in asked]
        pending = set(tasks)
        self.say(f"{round}: asking {len(tasks)}")
        try:
            while pending and _num_usable(tasks) < enough and (left_s := until - time.monotonic()) > 0:
                done, pending = await asyncio.wait(pending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                if done and pending:
                    self.say(f"{round}: {len(tasks) - len(pending)} of {len(tasks)} have answered")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        late = "was not waited for" if _num_usable(tasks) >= enough else self._late(until)
        found = [
            MemberAnswer(expert, "", late) if task.cancelled() else task.result()[0]
            for (expert, _), task in zip(asked, tasks, strict=True)
        ]
        for answer in found:
            if not answer.usable:
                self.missing[answer.expert] = answer.error or "an empty answer"
                self._causes[answer.expert] = answer.cause
        return found

    async def _one(
        self, expert: str, body: Mapping[str, Any], round: str, purpose: Purpose
    ) -> tuple[MemberAnswer, Heard | None]:
        """One question to one expert, within the budget."""
        began = time.monotonic()
        heard: Heard | None = None
        try:
            heard = await self._hear_one(expert, body, purpose)
            answer = MemberAnswer(expert, heard.text, self._fault(heard, purpose), finish_reason=heard.finish_reason)
        except BudgetSpent as full:
            answer = MemberAnswer(expert, "", str(full))
        except SwitchyardError as error:
            answer = MemberAnswer(expert, "", error.message, cause=error)
        answer = replace(answer, elapsed_s=time.monotonic() - began)
        if answer.text.strip():
            self._finish_reasons[answer.text] = answer.finish_reason
            self.note(round, expert, answer.text)
        return answer, heard

    async def _hear_one(self, expert: str, body: Mapping[str, Any], purpose: Purpose) -> Heard:
        """Within the budget, which is charged what it came to, even if that is more than was thought; nothing for who declines."""
        with self.reserve(expert, body) as spent:
            spent.usd = 0.0
            try:
                heard = await self._colleagues.ask(expert, body, purpose=purpose, budget=self.budget)
            except RequestError as error:
                spent.calls = 0 if error.code == NOT_APPLICABLE else spent.calls
                raise
            if not self._colleagues.spec(expert).composite:
                spent.usd = heard.usd
        return heard

    def _fault(self, heard: Heard, purpose: Purpose) -> str | None:
        """Why what was said is no answer to the client's question, where that was asked."""
        if purpose != "answer":
            return None
        return why_unusable(heard.text, finish_reason=heard.finish_reason, body=self.call.body)

    def _late(self, until: float) -> str:
        """What is said of who has not answered by then."""
        return (
            "no answer in the time that was left" if until == self.until else f"no answer within {self._timeout_s:g} s"
        )

    @property
    def left_s(self) -> float:
        """Seconds that the next question may take."""
        return max(0.0, min(self._timeout_s, self.until - time.monotonic()))

    def finish_reason(self, text: str) -> str | None:
        """Why the answer ended that says exactly this, if one did."""
        return self._finish_reasons.get(text)

    def no_quorum(self, num_usable: int = 0) -> NoQuorum:
        """The error that says who is missing, and why."""
        reasons = "; ".join(f"{expert}: {why}" for expert, why in self.missing.items())
        few = f"{num_usable} of {len(self.members)} members answered, and {self.quorum} are needed ({reasons})"
        return NoQuorum(few, causes=() if num_usable else tuple(self._causes.values()))


NOT_APPLICABLE = "not_applicable"
"""The code of an expert that declines: not its kind of question."""
_NOT_FOR_MEMBERS = ("stream", "stream_options", "n")
"""What only the panel's own answer can have."""


def _num_usable(tasks: Sequence[asyncio.Task[tuple[MemberAnswer, Heard | None]]]) -> int:
    """How many are done with a usable answer. Raises what is no failure of an expert."""
    return sum(task.done() and not task.cancelled() and task.result()[0].usable for task in tasks)
