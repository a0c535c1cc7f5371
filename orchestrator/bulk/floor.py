"""Carries jobs through the experts in waves: starts them, ends those that stand still, starts them again when it is their turn.

    floor = Floor(look)
    await floor.work(jobs)                                           # until every one is done
    async with floor.seat(job, "llama", holds_weights=True): ...     # in a job: entered when it may ask llama

A job that can't ask an expert now is cancelled when nothing of it is under way any more, and run anew, from the start, when it can;
what it has been told already it must find written down (`asking.py`). So a job that stands still costs a few hundred bytes, and
there can be any number. One that can get no answer for now raises `PutOff`, and is run anew after that time. Who may be asked when
is decided in `waves.py`.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from orchestrator.bulk.waves import AT_ONCE, Look, Ticket, Waves
from orchestrator.errors import SwitchyardError

ROUTED_AT_ONCE = 64
PARK_AFTER_S = 0.02
"""How long a job that can't ask one expert may take to ask others meanwhile."""


class PutOff(Exception):
    """Raised by a job that is to be run again after `delay_s`, or when it is recalled, to ask the host."""

    def __init__(self, host: str, delay_s: float) -> None:
        super().__init__(host, delay_s)
        self.host = host
        self.delay_s = delay_s


@dataclass(slots=True, eq=False, kw_only=True)
class Job(Ticket):
    """A query and how it is answered. run: may be called again; what it raises, other than being cancelled, ends all the work.

    calls: how many experts it is asking. held: whom it could not ask in this run, and how often. failed: calls that failed in any
    run, by key, which are not made again. troubled: the hosts whose failures may pass, and since when it has waited for that, in
    monotonic seconds. put_off: the host that it is put off for.
    """

    run: Callable[[Job], Awaitable[None]]
    work: _Work | None = None
    task: asyncio.Task[None] | None = None
    calls: int = 0
    held: Counter[str] = field(default_factory=Counter)
    failed: dict[str, SwitchyardError] = field(default_factory=dict)
    troubled: set[str] = field(default_factory=set)
    troubled_since: float | None = None
    put_off: str | None = None
    is_starting: bool = True
    is_parking: bool = False


@dataclass(slots=True)
class _Work:
    """One call of `Floor.work`. left: the jobs that are not done. is_over: they won't be."""

    left: set[Job] = field(default_factory=set)
    routing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ROUTED_AT_ONCE))
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    failure: Exception | None = None
    is_over: bool = False


class Floor:
    """Everybody who works on it at the same time shares its waves. look: what is in memory, and what may be.

    dismiss: told of a host that was loaded for jobs here, which need its memory for others now.
    """

    def __init__(self, look: Look, dismiss: Callable[[str], None] = lambda host: None) -> None:
        self._look = look
        self._dismiss = dismiss
        self._waves: Waves[Job] = Waves()
        self._put_off: defaultdict[str, dict[Job, None]] = defaultdict(dict)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._feeding = 0
        self._starting = 0

    async def work(self, jobs: Iterable[Job]) -> None:
        """Do them all; begun in order. Cancelling it, or the failure of one, ends those under way and leaves the others."""
        work = _Work()
        try:
            await self._feed(jobs, work)
            while work.left and work.failure is None:
                work.changed.clear()
                await work.changed.wait()
        finally:
            await self._drop(work)
        if work.failure is not None:
            raise work.failure

    async def _feed(self, jobs: Iterable[Job], work: _Work) -> None:
        self._feeding += 1
        try:
            for job in jobs:
                await work.routing.acquire()
                if work.failure is not None:
                    return
                job.work = work
                work.left.add(job)
                self._starting += 1
                self._waves.begin(job)
                self._start(job)
        finally:
            self._feeding -= 1
            self._waves.stale = True
            self._move_on()

    async def _drop(self, work: _Work) -> None:
        """End what is left: first those that stand still, lest they go on where the others make room."""
        work.is_over = True
        running = [job for job in work.left if job.task is not None]
        for job in work.left.difference(running):
            if job.put_off is None:
                self._waves.end(job)
            else:
                self._put_off[job.put_off].pop(job)
        tasks = [job.task for job in running if job.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job in work.left.intersection(running):  # one may have ended well at the last moment
            self._settle(job)
            self._waves.end(job)
        self._move_on()

    @asynccontextmanager
    async def seat(self, job: Job, host: str, *, holds_weights: bool) -> AsyncIterator[None]:
        """A place to ask the host. Where there is none now, it doesn't return in this run of the job."""
        if not self._waves.take(job, host, holds_weights=holds_weights):
            await self._hold(job, host)
        job.calls += 1
        self._settle(job)
        try:
            yield
        finally:
            job.calls -= 1
            self._waves.give(host)
            self._park_soon(job)
            self._move_on()

    def recall(self, host: str, most: int | None = None) -> None:
        """Those that were put off for the host wait for their turn again: all, or the first."""
        waiting = self._put_off.pop(host, {})
        for job in list(waiting)[:most]:
            del waiting[job]
            job.put_off = None
            self._waves.begin(job)
            self._waves.park(job, (host,))
        if waiting:
            self._put_off[host] = waiting
        self._move_on()

    def _wait(self, job: Job, later: PutOff) -> None:
        job.put_off = later.host
        self._put_off[later.host][job] = None
        self._set_timer(later.host, later.delay_s)

    def _set_timer(self, host: str, delay_s: float) -> None:
        if host not in self._timers:
            self._timers[host] = asyncio.get_running_loop().call_later(delay_s, self._probe, host, delay_s)

    def _probe(self, host: str, delay_s: float) -> None:
        """A few find out for the others."""
        del self._timers[host]
        self.recall(host, AT_ONCE)
        if host in self._put_off:
            self._set_timer(host, delay_s)

    async def _hold(self, job: Job, host: str) -> None:
        """Never returns: it is cancelled with the job, or by whoever in the job needs no answer of the host any more."""
        job.held[host] += 1
        self._park_soon(job)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            if not job.is_parking:
                job.held[host] -= 1
                job.held += Counter()  # without those that are down to 0

    def _start(self, job: Job) -> None:
        job.is_parking = False
        job.held.clear()
        job.task = asyncio.create_task(self._run(job))

    async def _run(self, job: Job) -> None:
        work, is_parked, later = job.work, False, None
        assert work is not None
        try:
            await job.run(job)
        except asyncio.CancelledError:
            if not job.is_parking or work.is_over:
                raise
            is_parked = True
        except PutOff as put_off:
            if work.is_over:
                raise
            later = put_off
        except Exception as failure:  # noqa: BLE001 (whatever it is, whoever waits for the work gets it)
            work.failure = failure
        job.task = None
        if is_parked:
            self._waves.park(job, job.held)
        else:
            self._waves.end(job)
            if later is None:
                work.left.discard(job)
                work.changed.set()
            else:
                self._wait(job, later)
        self._settle(job)
        self._move_on()

    def _settle(self, job: Job) -> None:
        """What it wants first is known."""
        if job.is_starting and job.work is not None:
            job.is_starting = False
            job.work.routing.release()
            self._starting -= 1
            self._waves.stale |= not self._starting

    def _park_soon(self, job: Job) -> None:
        if job.held:
            delay_s = PARK_AFTER_S if job.asks else 0.0
            asyncio.get_running_loop().call_later(delay_s, self._park, job)

    def _park(self, job: Job) -> None:
        """End a job that stands still."""
        if job.task is not None and job.held and not job.calls and not job.is_parking:
            job.is_parking = True
            job.task.cancel()

    def _move_on(self) -> None:
        while self._waves.stale:
            self._waves.open(self._look, settled=not self._starting and not self._feeding)
        while self._waves.closed:
            self._dismiss(self._waves.closed.pop())
        for job in self._waves.due():
            self._start(job)
