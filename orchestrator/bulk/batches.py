"""Batches in a running gateway: made, run in the background, looked at, cancelled; and the files that go in and come out.

    batches = Batches(bulk, store, limits=lambda: config.batches)
    await batches.open()                             # those that a killed gateway left go on
    file = await batches.add_file(caller, "in.jsonl", upload, size)
    batch = await batches.create(caller, BatchRequest(file.id, "/v1/chat/completions", "24h"))

Every line that is done is in the batch's journal, and every state in the database, before anybody is told; so a batch goes on after
a restart, whatever ended the gateway, and no line is run twice. Files go when they expire, and uploads are refused while too much is
stored. Not here: HTTP (`orchestrator/gateway/files.py` and `batches.py`), and how lines are answered (`run.py`).
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO, Literal, ParamSpec, TypeVar

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.bulk.desk import Bulk
from orchestrator.bulk.lines import Fault, Limits, Source, scan
from orchestrator.bulk.objects import (
    Batch,
    BatchRequest,
    Errors,
    Expiry,
    FileObject,
    Owned,
    Status,
    counted,
    entered,
    new_batch,
    new_file,
    output_file,
)
from orchestrator.bulk.run import Run
from orchestrator.bulk.store import Page, Store
from orchestrator.config import BatchesSpec
from orchestrator.errors import BodyTooLarge, LedgerUnavailable, RateLimited, RequestError, SwitchyardError
from orchestrator.labelling.journal import Journal
from orchestrator.types import Caller
from routers.data.outcomes import replaced

AT_ONCE = 16
"""Batches that run at the same time, and share their loads; others wait for one to end."""
GRACE_S = 60.0
"""By which a batch's time ends before that of its lines."""
_NOT_DONE = {
    "expired": {"code": "batch_expired", "message": "The batch's time was over before this request was executed."},
    "cancelled": {"code": "batch_cancelled", "message": "The batch was cancelled before this request was executed."},
}
_UNUSABLE = Fault("batch_failed", "The batch could not be run to its end; the gateway's log says why.")

P = ParamSpec("P")
T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Live:
    """A batch that is under way. stop: set when it is to be cancelled."""

    owned: Owned
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    run: Run | None = None

    @property
    def batch(self) -> Batch:
        batch = self.owned.batch
        return batch if self.run is None else counted(batch, self.run.counts, self.run.spent)


class Batches:
    """limits: of the configuration now."""

    def __init__(self, bulk: Bulk, store: Store, limits: Callable[[], BatchesSpec]) -> None:
        self._bulk = bulk
        self._store = store
        self._limits = limits
        self._slots = asyncio.Semaphore(AT_ONCE)
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
            await _in_thread(self._store.open)
            self._is_open = True
            for owned in await _in_thread(self._store.unfinished):
                self._start(owned)
            await self._sweep()

    async def close(self) -> None:
        """What is under way goes on when it is opened again."""
        tasks = [live.task for live in self._live.values() if live.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self._store.close)
        self._is_open = False

    # Files

    async def add_file(
        self, caller: Caller, filename: str, contents: IO[bytes], size: int, expiry: Expiry | None = None
    ) -> FileObject:
        """Keep an upload. Raises `BodyTooLarge` while too much is stored."""
        await self.open()
        await self._sweep()
        most = self._limits().max_stored_gb * 1e9
        if await _in_thread(self._store.stored_bytes) + size > most:
            message = f"More than the {most / 1e9:g} GB of files that this gateway keeps; delete some."
            raise BodyTooLarge(message, code="storage_limit_exceeded")
        file = new_file(filename, size, now=time.time(), expiry=expiry)

        def keep() -> None:
            with replaced(self._store.path(file.id)) as blob:
                shutil.copyfileobj(contents, blob, 1 << 20)
            self._store.save_file(file, caller.key_id)

        await _in_thread(keep)
        return file

    async def file(self, caller: Caller, file_id: str) -> FileObject:
        """Raises `NotFound`, also for one that has expired."""
        await self.open()
        await self._sweep()
        return await _in_thread(self._store.file, file_id, _whose(caller))

    async def contents(self, caller: Caller, file_id: str) -> tuple[FileObject, IO[bytes]]:
        """What is in a file, for the caller to close. Raises `NotFound`."""
        file = await self.file(caller, file_id)
        return file, await _in_thread(self._store.path(file_id).open, "rb")

    async def files(self, caller: Caller, page: Page, purpose: str | None = None) -> list[FileObject]:
        """The caller's own."""
        await self.open()
        await self._sweep()
        return await _in_thread(self._store.files, caller.key_id, page, purpose)

    async def delete_file(self, caller: Caller, file_id: str) -> None:
        """Raises `NotFound`, and `RequestError` for one that a batch reads."""
        await self.file(caller, file_id)
        if file_id in self._in_use():
            raise RequestError(f"A batch that is not over needs the file {file_id!r}.", param="file_id", code="in_use")
        await _in_thread(self._store.delete_file, file_id)

    async def _sweep(self) -> None:
        """Delete what has expired."""
        for file_id in await _in_thread(self._store.expired_files, time.time()):
            if file_id not in self._in_use():
                await _in_thread(self._store.delete_file, file_id)

    def _in_use(self) -> set[str]:
        return {live.owned.batch.input_file_id for live in self._live.values()}

    # Batches

    async def create(self, caller: Caller, request: BatchRequest) -> Batch:
        """Raises `NotFound` for the file, `RequestError` for one of another purpose, `RateLimited` while too many are under way."""
        file = await self.file(caller, request.input_file_id)
        if file.purpose != "batch":
            raise RequestError(f"The file {file.id!r} was not uploaded for a batch.", param="input_file_id")
        mine = sum(live.owned.caller.key_id == caller.key_id for live in self._live.values())
        if mine >= self._limits().max_unfinished:
            raise RateLimited(f"{mine} batches of this key are not over yet.", retry_after_s=60.0)
        kept = request.output_expires_after
        owned = Owned(new_batch(request, now=time.time()), caller)
        if kept is not None:
            owned = msgspec.structs.replace(owned, outputs_kept_s=kept.seconds)
        await _in_thread(self._store.save_batch, owned)
        self._start(owned)
        return owned.batch

    async def batch(self, caller: Caller, batch_id: str) -> Batch:
        """As it is now. Raises `NotFound`."""
        await self.open()
        owned = await _in_thread(self._store.batch, batch_id, _whose(caller))
        return self._as_it_is(owned)

    async def batches(self, caller: Caller, page: Page) -> list[Batch]:
        """The caller's own."""
        await self.open()
        return [self._as_it_is(owned) for owned in await _in_thread(self._store.batches, caller.key_id, page)]

    async def cancel(self, caller: Caller, batch_id: str) -> Batch:
        """Begin to end it: what is answered by then is kept. Raises `NotFound`, and `RequestError` for one that is over."""
        batch = await self.batch(caller, batch_id)
        live = self._live.get(batch_id)
        if live is None or batch.status == "finalizing":
            raise RequestError(
                f"A batch that is {batch.status} can't be cancelled.", param="batch_id", code="invalid_status"
            )
        await self._enter(live, "cancelling")
        live.stop.set()
        return live.batch

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
        """To its end, whatever happens."""
        batch_id = live.owned.batch.id
        try:
            with ExitStack() as stack:
                if await self._prepare(live, stack):
                    await self._finish(live, await self._work(live))
        except Exception:  # whatever it is, a batch must not stand still for ever
            logger.exception("batch %s could not be run to its end", batch_id)
            await self._fail(live, (_UNUSABLE,))
        finally:
            del self._live[batch_id]
        await asyncio.to_thread(self._store.journal(batch_id).unlink, missing_ok=True)

    async def _prepare(self, live: _Live, stack: ExitStack) -> bool:
        """Read what is to be done, and what is done already. False when it can't be used."""
        owned, limits = live.owned, self._limits()
        path = self._store.path(owned.batch.input_file_id)
        most = Limits(limits.max_requests, int(limits.max_line_mb * 1e6))
        scanned = await asyncio.to_thread(scan, path, most, endpoint=owned.batch.endpoint)
        if scanned.faults:
            await self._fail(live, tuple(scanned.faults))
            return False
        live.run = Run(
            scanned.lines,
            stack.enter_context(Source.open(path)),
            stack.enter_context(Journal.open(self._store.journal(owned.batch.id))),
            self._bulk.answerer,
            caller=owned.caller,
            deadline=time.monotonic() + owned.batch.expires_at - time.time() + GRACE_S,
            keeps_failures=True,
        )
        await live.run.look_back()
        return True

    async def _work(self, live: _Live) -> Status:
        """Until all is done, it is cancelled, or its time is over; returns how it ends."""
        work, stop = asyncio.create_task(self._answer(live)), asyncio.create_task(live.stop.wait())
        try:
            left_s = max(0.0, live.owned.batch.expires_at - time.time())
            done, _ = await asyncio.wait({work, stop}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            stop.cancel()
            await asyncio.gather(work, stop, return_exceptions=True)
        if stop in done:
            return "cancelled"
        if work in done:
            work.result()
            return "completed"
        return "expired"

    async def _answer(self, live: _Live) -> None:
        assert live.run is not None
        async with self._slots:
            if not live.stop.is_set():
                await self._enter(live, "in_progress")
                await live.run.work(self._bulk.floor)

    async def _finish(self, live: _Live, end: Status) -> None:
        """Write its files and its last state."""
        assert live.run is not None
        if end == "completed":
            await self._enter(live, "finalizing")
        output, error = await asyncio.to_thread(self._write, live, live.run, _NOT_DONE.get(end))
        batch = msgspec.structs.replace(
            entered(live.batch, end, now=time.time()),
            output_file_id=None if output is None else output.id,
            error_file_id=None if error is None else error.id,
        )
        live.owned = msgspec.structs.replace(live.owned, batch=batch)
        live.run = None
        await _in_thread(self._store.save_batch, live.owned, [file for file in (output, error) if file is not None])

    def _write(
        self, live: _Live, run: Run, not_done: dict[str, str] | None
    ) -> tuple[FileObject | None, FileObject | None]:
        """The output and the error file; None for one that would be empty."""
        kinds: tuple[Literal["output"], Literal["error"]] = ("output", "error")
        files = [output_file(live.batch, kind, 0, now=time.time(), kept_s=live.owned.outputs_kept_s) for kind in kinds]
        sizes = [0, 0]
        paths = [self._store.path(file.id) for file in files]
        with replaced(paths[0]) as output, replaced(paths[1]) as error:
            for result in run.results(not_done):
                sizes[not result.is_ok] += (output if result.is_ok else error).write(result.text)
        for path, size in zip(paths, sizes, strict=True):
            if not size:
                path.unlink()
        kept = (
            msgspec.structs.replace(file, bytes=size) if size else None for file, size in zip(files, sizes, strict=True)
        )
        first, second = kept
        return first, second

    async def _fail(self, live: _Live, faults: tuple[Fault, ...]) -> None:
        live.run = None
        batch = msgspec.structs.replace(live.owned.batch, errors=Errors(faults))
        live.owned = msgspec.structs.replace(live.owned, batch=batch)
        await self._enter(live, "failed")

    async def _enter(self, live: _Live, status: Status) -> None:
        batch = entered(live.owned.batch, status, now=time.time())
        live.owned = msgspec.structs.replace(live.owned, batch=batch)
        await _in_thread(self._store.save_batch, live.owned)


def _whose(caller: Caller) -> str | None:
    """An operator's key may look at everybody's."""
    return None if caller.admin else caller.key_id


async def _in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Raises `LedgerUnavailable` for what database or disk can't do now."""
    try:
        return await asyncio.to_thread(work, *args, **kwargs)
    except SwitchyardError:
        raise
    except (SQLAlchemyError, OSError) as exc:
        logger.error("files and batches can't be kept: %s", getattr(exc, "orig", None) or exc)  # noqa: TRY400
        raise LedgerUnavailable("files and batches can't be kept at the moment") from exc
