"""How a line of a batch is answered: by the pipeline like any request, but that its experts wait for their turn (`floor.py`).

    answerer = Answerer(floor, fleet=lambda: fleet, scheduler=scheduler, ledger=ledger, record=record)
    answered = await answerer.answer(line, job, journal)         # in a job of the floor, which may run it several times

The pipeline is given a scheduler that grants at once and a fleet (`turns.py`) whose experts take a place on the floor, then a
lease, and then answer. A line that may ask several (a panel, a cascade) finds in the journal what it was told in an earlier run, so
nothing is paid for twice, whoever ended that run; and every line finds in its job which calls have failed, so that no expert is
loaded again for those. Where what kept it from an answer may pass (an expert can't be loaded, or is over its limits) and nobody
else could answer either, it is put off and begun again, for as long as it has patience.

Waits don't count in the choice of expert, conversations move nobody, and panels have no limits of time: all of these are about
somebody who waits. On record, what a line waited for its lease is part of its attempt's time.

A panel that writes token by token (`aggregators/tokens/`) is one expert here, with all its members in memory at once: lines that
may come to one are answered whole, one host at a time, with no grouping of its members, nothing of them in the journal before the
answer, and so no call saved when they are interrupted.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from msgspec import structs

from orchestrator.aggregators.panel import Panel
from orchestrator.bulk.floor import Floor, Job, PutOff
from orchestrator.bulk.leasing import Unleased
from orchestrator.bulk.reach import Reach
from orchestrator.bulk.reading import model_of, read_request
from orchestrator.bulk.turns import Asked, ExpertsInTurn, LineRun
from orchestrator.config import ExpertBase
from orchestrator.errors import ExpertError, ExpertRejected, FailureKind, NoCapacity, RateLimited, SwitchyardError
from orchestrator.experts.base import Expert
from orchestrator.fleet.snapshot import Fleet
from orchestrator.labelling.journal import Journal
from orchestrator.ledger.base import Ledger
from orchestrator.pipeline import Pipeline, make_pipeline
from orchestrator.prompts import read_prompts
from orchestrator.routing.recording import CLIENT_LEFT
from orchestrator.scheduler.base import LeaseOutcome, LeaseRequest, Leases
from orchestrator.types import Answer, Call, Decision
from routers.policy import Choice

TRIES: dict[FailureKind, int] = {"not_loaded": 2, "rate_limited": 5, "overloaded": 5}
"""How often an expert is asked, where that may pass, before the line goes to another or fails; others are asked once."""
LONGEST_PAUSE_S = 60.0
FIRST_REST_S = 1.0
"""How long nobody asks an expert again that could not be loaded; twice as long each time, up to `LONGEST_PAUSE_S`."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer as the client reads it."""

    decision: Decision
    body: bytes


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why a host could not be asked. times: in a row. until: monotonic seconds, before which it is not worth trying."""

    kind: FailureKind
    message: str
    times: int
    until: float


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
        self._troubles: dict[str, _Trouble] = {}

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
        """Raises `SwitchyardError`, and `PutOff`. Cancelled when it has to wait for its turn, to be called again then."""
        try:
            return await self._answer(asked, job, journal)
        except SwitchyardError as error:
            if (later := self._later(asked, job)) is None:
                for host in job.troubled:  # the patience of those that came with it is over, too
                    self._floor.recall(host)
                raise
            job.failed = {key: failure for key, failure in job.failed.items() if not _may_pass(failure)}
            job.troubled.clear()
            raise later from error

    async def _answer(self, asked: Asked, job: Job, journal: Journal) -> Answered:
        timeout_s = asked.deadline - time.monotonic()
        query, present = read_request(asked.url, asked.body, caller=asked.caller, timeout_s=timeout_s)
        if asked.expert is not None:
            query = structs.replace(query, options=structs.replace(query.options, experts=(asked.expert,)))
        view = self._view
        if view.reach.writes_together(query.model):
            async with self._floor.seat(job, query.model, holds_weights=True):
                reply = await self._pipeline(view.unhurried, self._scheduler, asked, job).answer(query, present)
        else:
            line = LineRun(self.ask, view.unhurried, asked, job, journal if job.asks else None)
            fleet = replace(view.unhurried, experts=ExpertsInTurn(line))
            reply = await self._pipeline(fleet, Unleased(), asked, job).answer(query, present)
        assert reply.body is not None, "no line asks for a stream"
        return Answered(reply.decision, reply.body)

    async def ask(self, expert: Expert, spec: ExpertBase, call: Call, line: LineRun) -> Answer:
        """One expert, under a lease that waits behind interactive requests. Patient with what may pass."""
        host = line.fleet.specs[spec.host]
        async with self._floor.seat(line.job, host.name, holds_weights=host.holds_weights):
            trouble = self._troubles.get(host.name)
            if trouble is not None and trouble.kind == "not_loaded" and trouble.until > time.monotonic():
                line.job.troubled.add(host.name)
                raise ExpertError(spec.name, "not_loaded", trouble.message)
            tries = 1
            while True:
                try:
                    answer = await self._leased(expert, spec, call, line)
                except ExpertError as error:
                    if error.lasting or tries >= TRIES.get(error.kind, 1):
                        self._note(host.name, error, line.job)
                        raise
                    pause_s = min(error.retry_after_s or 2.0 ** (tries - 1), LONGEST_PAUSE_S)
                    if error.kind == "not_loaded":
                        pause_s = 0.0  # the scheduler itself waits before it loads again
                else:
                    if self._troubles.pop(host.name, None) is not None:
                        self._floor.recall(host.name)
                    return answer
                tries += 1
                await asyncio.sleep(pause_s)

    def _note(self, host: str, error: ExpertError, job: Job) -> None:
        """Remember a failure that may pass."""
        if not _may_pass(error):
            return
        job.troubled.add(host)
        now, last = time.monotonic(), self._troubles.get(host)
        if last is not None and last.until > now:
            return
        times = 1 if last is None else last.times + 1
        rest_s = min(max(FIRST_REST_S * 2.0 ** min(times - 1, 10), error.retry_after_s or 0.0), LONGEST_PAUSE_S)
        self._troubles[host] = _Trouble(error.kind, error.message, times, now + rest_s)

    def _later(self, asked: Asked, job: Job) -> PutOff | None:
        """When a line that has failed is begun again; None when it is not."""
        if not job.troubled:
            return None
        now = time.monotonic()
        if job.troubled_since is None:
            job.troubled_since = now
        if now - job.troubled_since >= asked.patience_s:
            return None
        delays = {host: self._rest_s(host, now) for host in job.troubled}
        soonest = min(delays, key=delays.__getitem__)
        return PutOff(soonest, delays[soonest])

    def _rest_s(self, host: str, now: float) -> float:
        trouble = self._troubles.get(host)
        return FIRST_REST_S if trouble is None else max(trouble.until - now, 0.0)

    async def _leased(self, expert: Expert, spec: ExpertBase, call: Call, line: LineRun) -> Answer:
        wanted = LeaseRequest(
            line.asked.key, (Choice(spec.name, 0.0),), 0.0, call.deadline, "bulk", line.asked.caller.key_id
        )
        try:
            lease = await self._scheduler.acquire(wanted)
        except (NoCapacity, RateLimited) as exc:
            raise ExpertError(spec.name, "overloaded", exc.message, retry_after_s=exc.retry_after_s) from exc
        began, ok, retry_after_s, reached = time.monotonic(), None, None, True
        try:
            answer = await expert.answer(structs.replace(call, endpoint=lease.endpoint))
            ok = True
            return answer
        except ExpertError as error:
            ok = None if isinstance(error, ExpertRejected) else False
            retry_after_s, reached = error.retry_after_s, error.kind != "unreachable"
            raise
        finally:
            duration_s = time.monotonic() - began
            outcome = LeaseOutcome(ok=ok, duration_s=duration_s, retry_after_s=retry_after_s, reached=reached)
            self._scheduler.release(lease, outcome)

    def _pipeline(self, fleet: Fleet, scheduler: Leases, asked: Asked, job: Job | None = None) -> Pipeline:
        """Its dice fall the same in every run of a line."""
        return make_pipeline(
            fleet=lambda: fleet,
            scheduler=scheduler,
            ledger=self._ledger,
            dice=random.Random(asked.key),
            prompts=self._prompts,
            record=lambda decision: self._record_ended(decision, asked, job),
        )

    def _record_ended(self, decision: Decision, asked: Asked, job: Job | None) -> None:
        """A run that was ended to be begun anew leaves no record, and neither does one that is put off."""
        is_put_off = decision.status >= 400 and job is not None and self._later(asked, job) is not None
        if decision.status != CLIENT_LEFT and not is_put_off:
            self._record(decision)

    @property
    def _view(self) -> _View:
        """Of the fleet now; made anew when that was reloaded."""
        fleet = self._fleet()
        if self._last is None or self._last.fleet is not fleet:
            self._last = _View.of(fleet)
            self._troubles.clear()
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


def _may_pass(error: SwitchyardError) -> bool:
    return isinstance(error, ExpertError) and not error.lasting and error.kind in TRIES
