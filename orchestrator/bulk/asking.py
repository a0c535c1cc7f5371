"""How a line of a batch is answered: by the pipeline like any request, but that its experts wait for their turn (`floor.py`).

    answerer = Answerer(floor, fleet=lambda: fleet, scheduler=scheduler, ledger=ledger, record=record)
    answered = await answerer.answer(line, job, journal)         # in a job of the floor, which may run it several times

The pipeline is given a scheduler that grants at once and a fleet whose experts take a place on the floor, then a lease, and then
answer. A line that may ask several (a panel, a cascade) finds in the journal what it was told in an earlier run, so nothing is paid
for twice, whoever ended that run. Waits don't count in the choice of expert, conversations move nobody, and panels have no limits
of time: all of these are about somebody who waits. On record, what a line waited for its lease is part of its attempt's time.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from orchestrator.aggregators.panel import Panel
from orchestrator.bulk.floor import Floor, Job
from orchestrator.bulk.leasing import Unleased
from orchestrator.bulk.reach import Reach
from orchestrator.bulk.reading import model_of, read_request
from orchestrator.config import ExpertBase
from orchestrator.errors import ExpertError, ExpertRejected, FailureKind, NoCapacity, RateLimited, SwitchyardError
from orchestrator.experts.base import Expert
from orchestrator.fleet.snapshot import Fleet
from orchestrator.labelling.journal import Entry, Journal
from orchestrator.ledger.base import Ledger
from orchestrator.pipeline import Pipeline, make_pipeline
from orchestrator.prompts import read_prompts
from orchestrator.routing.pricing import cost_usd
from orchestrator.routing.recording import CLIENT_LEFT
from orchestrator.scheduler.base import LeaseOutcome, LeaseRequest, Leases
from orchestrator.types import Answer, Call, Caller, Decision, Usage
from routers.policy import Choice

TRIES: dict[FailureKind, int] = {"not_loaded": 2, "rate_limited": 5, "overloaded": 5}
"""How often an expert is asked, where that may pass, before the line goes to another or fails; others are asked once."""
LONGEST_PAUSE_S = 60.0
GIVEN_UP_S = 60.0
"""How long nobody asks an expert again that could not be loaded."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A line, and on whose behalf it is asked. deadline: monotonic seconds. expert: whom it was given to, where places are few."""

    key: str
    url: str
    body: bytes
    caller: Caller
    deadline: float
    expert: str | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer as the client reads it."""

    decision: Decision
    body: bytes


class Answerer:
    """fleet: the current snapshot. scheduler: the real one. record: called once with the decision behind each line."""

    def __init__(
        self,
        floor: Floor,
        *,
        fleet: Callable[[], Fleet],
        scheduler: Leases,
        ledger: Ledger,
        record: Callable[[Decision], None],
    ) -> None:
        self._floor = floor
        self._fleet = fleet
        self._scheduler = scheduler
        self._ledger = ledger
        self._record = record
        self._prompts = read_prompts("policy")
        self._last: _View | None = None
        self._given_up: dict[str, tuple[float, str]] = {}

    def asks(self, body: bytes) -> frozenset[str]:
        """The hosts that a line may ask one after the other."""
        return self._view.reach.asks(model_of(body))

    async def utilities(self, asked: Asked) -> Mapping[str, float]:
        """By expert, where a policy chooses one for the line; else none, and none where nobody can answer it."""
        if model_of(asked.body) not in self._view.fleet.policies or self.asks(asked.body):
            return {}
        timeout_s = asked.deadline - time.monotonic()
        try:
            query, _ = read_request(asked.url, asked.body, caller=asked.caller, timeout_s=timeout_s)
            decision = await self._pipeline(self._view.unhurried, self._scheduler, asked).route(query)
        except SwitchyardError:
            return {}  # what is wrong with it is told when it is asked
        return decision.utilities if decision.scores else {}

    async def answer(self, asked: Asked, job: Job, journal: Journal) -> Answered:
        """Raises `SwitchyardError`. Cancelled when the line has to wait for its turn, to be called again then."""
        timeout_s = asked.deadline - time.monotonic()
        query, present = read_request(asked.url, asked.body, caller=asked.caller, timeout_s=timeout_s)
        if asked.expert is not None:
            query = replace(query, options=replace(query.options, experts=(asked.expert,)))
        view = self._view
        if view.reach.writes_together(query.model):
            async with self._floor.seat(job, query.model, holds_weights=True):
                reply = await self._pipeline(view.unhurried, self._scheduler, asked).answer(query, present)
        else:
            line = _Line(self, view.unhurried, asked, job, journal if job.asks else None)
            fleet = replace(view.unhurried, experts=_Experts(line))
            reply = await self._pipeline(fleet, Unleased(), asked).answer(query, present)
        assert reply.body is not None, "no line asks for a stream"
        return Answered(reply.decision, reply.body)

    async def ask(self, expert: Expert, spec: ExpertBase, call: Call, line: _Line) -> Answer:
        """One expert, under a lease that waits behind interactive requests. Patient with what may pass."""
        host = line.fleet.specs[spec.host]
        async with self._floor.seat(line.job, host.name, holds_weights=host.holds_weights):
            until, lost = self._given_up.get(host.name, (0.0, ""))
            if until > time.monotonic():
                raise ExpertError(spec.name, "not_loaded", lost)
            tries = 1
            while True:
                try:
                    return await self._leased(expert, spec, call, line)
                except ExpertError as error:
                    if error.lasting or tries >= TRIES.get(error.kind, 1):
                        if error.kind == "not_loaded":
                            self._given_up[host.name] = time.monotonic() + GIVEN_UP_S, error.message
                        raise
                    pause_s = min(error.retry_after_s or 2.0 ** (tries - 1), LONGEST_PAUSE_S)
                    if error.kind == "not_loaded":
                        pause_s = 0.0  # the scheduler itself waits before it loads again
                tries += 1
                await asyncio.sleep(pause_s)

    async def _leased(self, expert: Expert, spec: ExpertBase, call: Call, line: _Line) -> Answer:
        wanted = LeaseRequest(
            line.asked.key, (Choice(spec.name, 0.0),), 0.0, call.deadline, "bulk", line.asked.caller.key_id
        )
        try:
            lease = await self._scheduler.acquire(wanted)
        except (NoCapacity, RateLimited) as exc:
            raise ExpertError(spec.name, "overloaded", exc.message, retry_after_s=exc.retry_after_s) from exc
        began, ok, retry_after_s = time.monotonic(), None, None
        try:
            answer = await expert.answer(replace(call, endpoint=lease.endpoint))
            ok = True
            return answer
        except ExpertError as error:
            ok = None if isinstance(error, ExpertRejected) else False
            retry_after_s = error.retry_after_s
            raise
        finally:
            duration_s = time.monotonic() - began
            self._scheduler.release(lease, LeaseOutcome(ok=ok, duration_s=duration_s, retry_after_s=retry_after_s))

    def _pipeline(self, fleet: Fleet, scheduler: Leases, asked: Asked) -> Pipeline:
        """Its dice fall the same in every run of a line."""
        return make_pipeline(
            fleet=lambda: fleet,
            scheduler=scheduler,
            ledger=self._ledger,
            dice=random.Random(asked.key),
            prompts=self._prompts,
            record=self._record_ended,
        )

    def _record_ended(self, decision: Decision) -> None:
        """A run that was ended to be begun anew leaves no record."""
        if decision.status != CLIENT_LEFT:
            self._record(decision)

    @property
    def _view(self) -> _View:
        """Of the fleet now; made anew when that was reloaded."""
        fleet = self._fleet()
        if self._last is None or self._last.fleet is not fleet:
            self._last = _View.of(fleet)
            self._given_up.clear()
        return self._last


@dataclass(frozen=True, slots=True)
class _View:
    """A fleet as batches see it. unhurried: with panels that don't look at the clock."""

    fleet: Fleet
    unhurried: Fleet
    reach: Reach

    @classmethod
    def of(cls, fleet: Fleet) -> _View:
        experts = {
            name: expert.unhurried() if isinstance(expert, Panel) else expert for name, expert in fleet.experts.items()
        }
        return cls(fleet, replace(fleet, experts=experts), Reach(fleet))


@dataclass(slots=True)
class _Line:
    """One run of a line. journal: None where it asks a single expert, whose answer is the line's."""

    answerer: Answerer
    fleet: Fleet
    asked: Asked
    job: Job
    journal: Journal | None
    times: Counter[str] = field(default_factory=Counter)

    def key(self, expert: str, call: Call) -> str:
        """What tells this call from all others; one that is made again in the same run is another sample, and another call."""
        said = msgspec.json.encode([self.asked.key, expert, call.kind, call.body], order="sorted")
        digest = hashlib.sha256(said).hexdigest()
        self.times[digest] += 1
        return f"{digest}/{self.times[digest]}"


class _Experts(Mapping[str, Expert]):
    """The experts of a fleet, as a line asks them."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def __getitem__(self, name: str) -> Expert:
        fleet = self._line.fleet
        spec, expert = fleet.specs[name], fleet.experts[name]
        return expert if spec.composite else _InTurn(expert, spec, self._line)

    def __iter__(self) -> Iterator[str]:
        return iter(self._line.fleet.experts)

    def __len__(self) -> int:
        return len(self._line.fleet.experts)


@dataclass(frozen=True, slots=True)
class _InTurn:
    """An expert that is asked when it is its turn, and once."""

    expert: Expert
    spec: ExpertBase
    line: _Line

    async def answer(self, call: Call) -> Answer:
        journal = self.line.journal
        if journal is None:
            return await self.line.answerer.ask(self.expert, self.spec, call, self.line)
        key = self.line.key(self.spec.name, call)
        if (entry := journal.get(key)) is not None:
            usage = Usage(int(entry.measured["prompt_tokens"]), int(entry.measured["completion_tokens"]))
            return Answer(body=str(entry.value).encode(), usage=usage)
        answer = await self.line.answerer.ask(self.expert, self.spec, call, self.line)
        assert answer.body is not None, "no line asks for a stream"
        tokens = answer.usage.prompt_tokens, answer.usage.completion_tokens
        measured = {"prompt_tokens": float(tokens[0]), "completion_tokens": float(tokens[1])}
        journal.add(key, Entry(self.spec.name, answer.body.decode(), cost_usd(self.spec.price, *tokens), measured))
        return answer
