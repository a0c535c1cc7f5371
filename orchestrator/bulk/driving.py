"""Batches from their beginning to their end: looked through, run, written, whatever interrupts them.

    driver = Driver(bulk, store, limits=lambda: config.batches, rights=lambda caller: caller, may_write=lambda: True)
    driver.start(owned)                              # in the background; driver.live[owned.batch.id] is how it stands
    await driver.cancel(driver.live[batch_id])
    await driver.lay_down()                          # what is under way goes on when it is started again

Not here: which gateway does it, and for whom (`batches.py`), and how lines are answered (`run.py`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from typing import Any

import msgspec

from orchestrator.bulk.dealing import Dealer
from orchestrator.bulk.desk import Bulk
from orchestrator.bulk.holding import HeldJournal
from orchestrator.bulk.lines import Fault, Limits, Scanned, Source, scan
from orchestrator.bulk.objects import (
    ENDS,
    Batch,
    Errors,
    Owned,
    RequestCounts,
    Status,
    counted,
    entered,
)
from orchestrator.bulk.outputs import write_outputs
from orchestrator.bulk.run import Run, in_whole_thread
from orchestrator.bulk.store import Store
from orchestrator.bulk.uploads import in_thread
from orchestrator.config import BatchesSpec
from orchestrator.errors import DataError, LabelError, LedgerUnavailable
from orchestrator.labelling.journal import Journal
from orchestrator.types import Caller

AT_ONCE = 16
"""Batches that run at the same time, and share their loads; others wait for one to end."""
MOST_OF_ONE_KEY = 12
READ_AT_ONCE = 2
"""Files that are looked through at the same time for batches that don't run."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
"""Between tries, while disk or database can't keep what is done."""
GRACE_S = 60.0
"""By which a batch's time ends before that of its lines."""
_NOT_DONE = {
    "expired": {"code": "batch_expired", "message": "The batch's time was over before this request was executed."},
    "cancelled": {"code": "batch_cancelled", "message": "The batch was cancelled before this request was executed."},
}
_NO_KEY = Fault("key_unknown", "The key that made this batch is not known any more.")
_UNUSABLE = Fault("batch_failed", "The batch could not be run to its end; the gateway's log says why.")

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Live:
    """A batch that is under way. stop: set when it is to be cancelled. turn: held while its state changes. faults: why it fails.

    num_told: of its lines that are done, how many other gateways know of.
    """

    owned: Owned
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    run: Run | None = None
    faults: tuple[Fault, ...] = ()
    num_told: int = 0

    @property
    def left_s(self) -> float:
        return max(0.0, self.owned.batch.expires_at - time.time())

    @property
    def batch(self) -> Batch:
        batch = self.owned.batch
        return batch if self.run is None else counted(batch, self.run.counts, self.run.spent)


class Driver:
    """limits: of the configuration now. rights: what whoever made a batch may do now; None when nothing any more.

    may_write: whether it is surely still this gateway that runs batches, which one that was stopped for a while has to ask itself.
    live: the batches that are under way, by their ids.
    """

    def __init__(
        self,
        bulk: Bulk,
        store: Store,
        limits: Callable[[], BatchesSpec],
        rights: Callable[[Caller], Caller | None],
        may_write: Callable[[], bool],
    ) -> None:
        self._bulk = bulk
        self._store = store
        self._limits = limits
        self._rights = rights
        self._may_write = may_write
        self._slots = Dealer(AT_ONCE, MOST_OF_ONE_KEY)
        self._reading = asyncio.Semaphore(READ_AT_ONCE)
        self.live: dict[str, Live] = {}

    def start(self, owned: Owned) -> None:
        live = self.live[owned.batch.id] = Live(owned)
        if owned.batch.status == "cancelling":
            live.stop.set()
        live.task = asyncio.create_task(self._drive(live), name=owned.batch.id)

    async def cancel(self, live: Live) -> bool:
        """False for what is over, or as good as."""
        if not live.stop.is_set() and not await self._enter(live, "cancelling"):
            return False
        live.stop.set()
        return True

    async def lay_down(self) -> None:
        """What is under way goes on elsewhere."""
        tasks = [live.task for live in self.live.values() if live.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.live.clear()

    async def _drive(self, live: Live) -> None:
        """To its end, whatever happens: what disk or database can't do now is tried again."""
        batch_id, pause_s = live.owned.batch.id, FIRST_PAUSE_S
        try:
            while not live.owned.batch.is_over:
                try:
                    await self._bring_to_end(live)
                except Exception as error:  # whatever it is, a batch must not stand still for ever
                    logger.exception("batch %s could not go on", batch_id)
                    if not _may_pass(error):
                        live.faults = (_UNUSABLE,)
                    await asyncio.sleep(pause_s)
                    pause_s = min(2.0 * pause_s, LONGEST_PAUSE_S)
        finally:
            self.live.pop(batch_id, None)

    async def _bring_to_end(self, live: Live) -> None:
        batch = live.owned.batch
        if batch.status == "finalizing":  # it was interrupted at that
            batch = entered(batch, "in_progress", now=time.time())
            live.owned = msgspec.structs.replace(live.owned, batch=batch)
        if batch.status == "validating" and not live.faults:
            await self._validate(live)
        if live.faults:
            await self._fail(live)
            return
        key_id = live.owned.caller.key_id
        slot, stop = self._slots.take(key_id), asyncio.create_task(live.stop.wait())
        either: set[asyncio.Future[Any]] = {slot, stop}
        try:
            await asyncio.wait(either, timeout=live.left_s, return_when=asyncio.FIRST_COMPLETED)
            async with AsyncExitStack() as stack:
                if not slot.done():  # it is over before it began
                    await stack.enter_async_context(self._reading)
                await self._run(live, may_ask=slot.done())
        finally:
            stop.cancel()
            self._slots.give(key_id, slot)

    async def _renewed(self, live: Live) -> Caller:
        """As whom it runs. Where that is nobody any more it is cancelled, and what is answered already is kept."""
        caller = self._rights(live.owned.caller)
        if caller is not None:
            return caller
        live.owned = _with_errors(live.owned, (_NO_KEY,))
        await self._enter(live, "cancelling")
        live.stop.set()
        return live.owned.caller

    async def _validate(self, live: Live) -> None:
        async with self._reading:
            scanned = await self._scan(live)
        live.faults = tuple(scanned.faults)
        if not live.faults:
            await self._enter(live, "in_progress", RequestCounts(total=len(scanned.lines)))

    async def _scan(self, live: Live) -> Scanned:
        batch, limits = live.owned.batch, self._limits()
        most = Limits(limits.max_requests, int(limits.max_line_mb * 1e6))
        return await asyncio.to_thread(scan, self._store.path(batch.input_file_id), most, endpoint=batch.endpoint)

    async def _run(self, live: Live, *, may_ask: bool) -> None:
        """Answer what is left of it, and write what came of it."""
        owned, scanned = live.owned, await self._scan(live)
        if scanned.faults:  # the limits are others by now
            live.faults = tuple(scanned.faults)
            await self._fail(live)
            return
        with ExitStack() as stack:
            live.run = Run(
                scanned.lines,
                stack.enter_context(Source.open(self._store.path(owned.batch.input_file_id))),
                self._journal(stack, owned.batch),
                self._bulk.answerer,
                caller=await self._renewed(live),
                deadline=time.monotonic() + owned.batch.expires_at - time.time() + GRACE_S,
                patience_s=self._limits().patience_s,
                keeps_failures=True,
            )
            await live.run.look_back()
            await self._finish(live, await self._work(live, live.run, may_ask=may_ask))

    def _journal(self, stack: ExitStack, batch: Batch) -> Journal:
        journal = stack.enter_context(HeldJournal.open(self._store.journal(batch.id)))
        journal.may_write = self._may_write
        return journal

    async def _work(self, live: Live, run: Run, *, may_ask: bool) -> Status:
        """Until all is done, it is cancelled, or its time is over; returns how it ends."""
        if live.stop.is_set():
            return "cancelled"
        if not may_ask or not live.left_s:
            return "expired"
        work, stop = asyncio.create_task(run.work(self._bulk.floor)), asyncio.create_task(live.stop.wait())
        try:
            done, _ = await asyncio.wait({work, stop}, timeout=live.left_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            stop.cancel()
            await asyncio.gather(work, stop, return_exceptions=True)
        if stop in done:
            return "cancelled"
        if work not in done:
            return "expired"
        if (failure := work.exception()) is None:
            return "completed"
        if _may_pass(failure):
            raise failure
        logger.error("batch %s is ended early", live.owned.batch.id, exc_info=failure)
        live.owned = _with_errors(live.owned, (_UNUSABLE,))
        return "failed"

    async def _finish(self, live: Live, end: Status) -> None:
        """Write its files and its last state."""
        assert live.run is not None
        if end == "completed" and not await self._enter(live, "finalizing"):
            end = "cancelled"
        async with live.turn:
            results = live.run.results(_NOT_DONE.get(end))
            files = await in_whole_thread(write_outputs, self._store.path, live.owned, results, self._may_write)
            output, error = (file.id if file.bytes else None for file in files)
            batch = entered(live.batch, end, now=time.time())
            batch = msgspec.structs.replace(batch, output_file_id=output, error_file_id=error)
            owned = msgspec.structs.replace(live.owned, batch=batch)
            await in_thread(self._store.end_batch, owned, [file for file in files if file.bytes])
            live.owned, live.run = owned, None

    async def _fail(self, live: Live) -> None:
        live.owned = _with_errors(live.owned, live.faults)
        await self._enter(live, "failed")

    async def _enter(self, live: Live, status: Status, counts: RequestCounts | None = None) -> bool:
        """False when it can't be: one that is being cancelled goes on no further, and one that is being written is done."""
        async with live.turn:
            now = live.owned.batch.status
            if status != "failed" and (now in ENDS or now == "finalizing" or (now == "cancelling" and status != now)):
                return False
            batch = entered(live.batch if status == "failed" else live.owned.batch, status, now=time.time())
            if counts is not None:
                batch = msgspec.structs.replace(batch, request_counts=counts)
            owned = msgspec.structs.replace(live.owned, batch=batch)
            await in_thread(self._store.save_batch, owned)
            live.owned = owned  # nobody is told before it is kept
            if status == "failed":
                live.run = None
            return True


def _may_pass(error: BaseException) -> bool:
    """Whether it is disk or database that could not keep something, rather than what they hold."""
    if isinstance(error, LabelError):
        return not isinstance(error.__cause__, (msgspec.DecodeError, UnicodeDecodeError))
    if isinstance(error, DataError):
        return error.__cause__ is not None and _may_pass(error.__cause__)
    return isinstance(error, (LedgerUnavailable, OSError)) and not isinstance(error, FileNotFoundError)


def _with_errors(owned: Owned, faults: tuple[Fault, ...]) -> Owned:
    return msgspec.structs.replace(owned, batch=msgspec.structs.replace(owned.batch, errors=Errors(faults)))
