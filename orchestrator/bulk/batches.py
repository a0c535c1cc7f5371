"""Batches in a running gateway: made, run in the background, looked at, cancelled.

    batches = Batches(bulk, store, limits=lambda: config.batches)
    await batches.open()                             # those that a killed gateway left go on
    batch = await batches.create(caller, BatchRequest(file.id, "/v1/chat/completions", "24h"))

Every line that is done is in the batch's journal, and every state in the database, before anybody is told; so a batch goes on after
a restart, whatever ended the gateway, and no line is run twice. Not here: HTTP (`orchestrator/gateway/batches.py`), and how lines
are answered (`run.py`).
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
from orchestrator.bulk.lines import Fault, Limits, Scanned, Source, scan
from orchestrator.bulk.objects import (
    ENDS,
    OUTPUTS,
    Batch,
    BatchRequest,
    Errors,
    FileObject,
    Owned,
    RequestCounts,
    Status,
    counted,
    entered,
    new_batch,
    output_file,
    output_id,
)
from orchestrator.bulk.run import Run, in_whole_thread
from orchestrator.bulk.store import Page, Store
from orchestrator.bulk.uploads import Uploads, in_thread, whose
from orchestrator.config import BatchesSpec
from orchestrator.errors import DataError, LabelError, LedgerUnavailable, RateLimited, RequestError
from orchestrator.labelling.journal import Journal
from orchestrator.types import Caller
from routers.data.outcomes import replaced

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
class _Live:
    """A batch that is under way. stop: set when it is to be cancelled. turn: held while its state changes. faults: why it fails."""

    owned: Owned
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    run: Run | None = None
    faults: tuple[Fault, ...] = ()

    @property
    def left_s(self) -> float:
        return max(0.0, self.owned.batch.expires_at - time.time())

    @property
    def batch(self) -> Batch:
        batch = self.owned.batch
        return batch if self.run is None else counted(batch, self.run.counts, self.run.spent)


class Batches:
    """limits: of the configuration now. rights: what whoever made a batch may do now; None when nothing any more."""

    def __init__(self, bulk: Bulk, store: Store, limits: Callable[[], BatchesSpec]) -> None:
        self._bulk = bulk
        self._store = store
        self._limits = limits
        self.rights: Callable[[Caller], Caller | None] = lambda caller: caller
        self.uploads = Uploads(store, limits, self._in_use)
        self._slots = Dealer(AT_ONCE, MOST_OF_ONE_KEY)
        self._reading = asyncio.Semaphore(READ_AT_ONCE)
        self._live: dict[str, _Live] = {}
        self._opening = asyncio.Lock()
        self._is_open = False

    @property
    def in_progress(self) -> int:
        """Batches that are not over."""
        return len(self._live)

    async def open(self) -> None:
        """Go on with what was under way. Does nothing when it is open. Raises `SwitchyardError` when it can't be."""
        async with self._opening:
            if self._is_open:
                return
            await in_thread(self._store.open)
            try:
                unfinished = await in_thread(self._store.unfinished)
            except BaseException:  # a cancelled start gives the lock back as well
                await asyncio.to_thread(self._store.close)
                raise
            for owned in unfinished:
                self._start(owned)
            self._is_open = True
            await self.uploads.sweep()

    async def close(self) -> None:
        """What is under way goes on when it is opened again."""
        if not self._is_open:
            return
        tasks = [live.task for live in self._live.values() if live.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self._store.close)
        self._is_open = False

    async def create(self, caller: Caller, request: BatchRequest) -> Batch:
        """Raises `NotFound` for the file, `RequestError` for one of another purpose, `RateLimited` while too many are under way.

        And `BodyTooLarge` without room for as much again as its file.
        """
        file = await self.uploads.get(caller, request.input_file_id)
        if file.purpose != "batch":
            raise RequestError(f"The file {file.id!r} was not uploaded for a batch.", param="input_file_id")
        mine = sum(live.owned.caller.key_id == caller.key_id for live in self._live.values())
        if mine >= self._limits().max_unfinished:
            raise RateLimited(f"{mine} batches of this key are not over yet.", retry_after_s=60.0)
        kept = request.output_expires_after
        owned = Owned(new_batch(request, now=time.time()), caller)
        if kept is not None:
            owned = msgspec.structs.replace(owned, outputs_kept_s=kept.seconds)
        async with self.uploads.room(file.bytes):
            await in_thread(self._store.save_batch, owned)
        self._start(owned)
        return owned.batch

    async def batch(self, caller: Caller, batch_id: str) -> Batch:
        """As it is now. Raises `NotFound`."""
        owned = await in_thread(self._store.batch, batch_id, whose(caller))
        return self._as_it_is(owned)

    async def batches(self, caller: Caller, page: Page) -> list[Batch]:
        """The caller's own, an operator's key everybody's. Raises `NotFound` for a page after a batch that isn't there."""
        return [self._as_it_is(owned) for owned in await in_thread(self._store.batches, whose(caller), page)]

    async def cancel(self, caller: Caller, batch_id: str) -> Batch:
        """Begin to end it: what is answered by then is kept. Raises `NotFound`, and `RequestError` for one that is over."""
        batch = await self.batch(caller, batch_id)
        live = self._live.get(batch_id)
        if live is None or not await self._enter(live, "cancelling"):
            status = batch.status if live is None else live.batch.status
            raise RequestError(f"A batch that is {status} can't be cancelled.", param="batch_id", code="invalid_status")
        live.stop.set()
        return live.batch

    def _in_use(self) -> set[str]:
        return {live.owned.batch.input_file_id for live in self._live.values()}

    def _as_it_is(self, owned: Owned) -> Batch:
        live = self._live.get(owned.batch.id)
        return owned.batch if live is None else live.batch

    # Their life

    def _start(self, owned: Owned) -> None:
        live = self._live[owned.batch.id] = _Live(owned)
        if owned.batch.status == "cancelling":
            live.stop.set()
        live.task = asyncio.create_task(self._drive(live), name=owned.batch.id)

    async def _drive(self, live: _Live) -> None:
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
            del self._live[batch_id]

    async def _bring_to_end(self, live: _Live) -> None:
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

    async def _renewed(self, live: _Live) -> Caller:
        """As whom it runs. Where that is nobody any more it is cancelled, and what is answered already is kept."""
        caller = self.rights(live.owned.caller)
        if caller is not None:
            return caller
        live.owned = _with_errors(live.owned, (_NO_KEY,))
        await self._enter(live, "cancelling")
        live.stop.set()
        return live.owned.caller

    async def _validate(self, live: _Live) -> None:
        async with self._reading:
            scanned = await self._scan(live)
        live.faults = tuple(scanned.faults)
        if not live.faults:
            await self._enter(live, "in_progress", RequestCounts(total=len(scanned.lines)))

    async def _scan(self, live: _Live) -> Scanned:
        batch, limits = live.owned.batch, self._limits()
        most = Limits(limits.max_requests, int(limits.max_line_mb * 1e6))
        return await asyncio.to_thread(scan, self._store.path(batch.input_file_id), most, endpoint=batch.endpoint)

    async def _run(self, live: _Live, *, may_ask: bool) -> None:
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
                stack.enter_context(Journal.open(self._store.journal(owned.batch.id))),
                self._bulk.answerer,
                caller=await self._renewed(live),
                deadline=time.monotonic() + owned.batch.expires_at - time.time() + GRACE_S,
                patience_s=self._limits().patience_s,
                keeps_failures=True,
            )
            await live.run.look_back()
            await self._finish(live, await self._work(live, live.run, may_ask=may_ask))

    async def _work(self, live: _Live, run: Run, *, may_ask: bool) -> Status:
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

    async def _finish(self, live: _Live, end: Status) -> None:
        """Write its files and its last state."""
        assert live.run is not None
        if end == "completed" and not await self._enter(live, "finalizing"):
            end = "cancelled"
        async with live.turn:
            files = await in_whole_thread(self._write, live, live.run, _NOT_DONE.get(end))
            output, error = (file.id if file.bytes else None for file in files)
            batch = entered(live.batch, end, now=time.time())
            batch = msgspec.structs.replace(batch, output_file_id=output, error_file_id=error)
            owned = msgspec.structs.replace(live.owned, batch=batch)
            await in_thread(self._store.end_batch, owned, [file for file in files if file.bytes])
            live.owned, live.run = owned, None

    def _write(self, live: _Live, run: Run, not_done: dict[str, str] | None) -> tuple[FileObject, FileObject]:
        """The output and the error file; one that would be empty is not there."""
        batch, kept_s, now = live.owned.batch, live.owned.outputs_kept_s, time.time()
        paths = [self._store.path(output_id(batch, what)) for what in OUTPUTS]
        sizes = [0, 0]
        with replaced(paths[0]) as output, replaced(paths[1]) as error:
            for result in run.results(not_done):
                sizes[not result.is_ok] += (output if result.is_ok else error).write(result.text)
        for path, size in zip(paths, sizes, strict=True):
            if not size:
                path.unlink()
        first, second = (output_file(batch, *each, now=now, kept_s=kept_s) for each in zip(OUTPUTS, sizes, strict=True))
        return first, second

    async def _fail(self, live: _Live) -> None:
        live.owned = _with_errors(live.owned, live.faults)
        await self._enter(live, "failed")

    async def _enter(self, live: _Live, status: Status, counts: RequestCounts | None = None) -> bool:
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
