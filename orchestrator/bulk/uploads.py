"""Files that go into batches and come out of them: kept until they expire or are deleted, up to so many bytes together.

    uploads = Uploads(store, limits=lambda: config.batches)
    async with uploads.room(size):
        file = await uploads.add(caller, "in.jsonl", contents, size)
    file, contents = await uploads.contents(caller, file.id)

Not here: HTTP (`orchestrator/gateway/files.py`), and what a batch makes of a file (`batches.py`).
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, ParamSpec, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from orchestrator.bulk.objects import Expiry, FileObject, new_file
from orchestrator.bulk.store import Page, Store
from orchestrator.config import BatchesSpec
from orchestrator.errors import BodyTooLarge, LedgerUnavailable, RequestError, SwitchyardError
from orchestrator.types import Caller
from routers.data.outcomes import replaced

PATIENCE_S = 5.0
THREADS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="batches")
"""Apart from all others: a database or a disk that stands still must not keep the gateway from looking up names of hosts."""

P = ParamSpec("P")
T = TypeVar("T")
logger = logging.getLogger(__name__)


class Uploads:
    """limits: of the configuration now."""

    def __init__(self, store: Store, limits: Callable[[], BatchesSpec]) -> None:
        self._store = store
        self._limits = limits
        self._reserved_bytes = 0

    @asynccontextmanager
    async def room(self, size: int) -> AsyncIterator[Path]:
        """Set so many bytes aside for what is to come; yields the folder it may wait in. Raises `BodyTooLarge` without room."""
        await self.sweep()
        self._reserved_bytes += size
        try:
            # From before the look at the disk: what arrives meanwhile is counted twice, and not never.
            reserved = self._reserved_bytes
            most = self._limits().max_stored_gb * 1e9
            if await in_thread(self._store.stored_bytes) + reserved > most:
                message = f"More than the {most / 1e9:g} GB of files that this gateway keeps; delete some."
                raise BodyTooLarge(message, code="storage_limit_exceeded")
            yield self._store.folder
        finally:
            self._reserved_bytes -= size

    async def add(
        self, caller: Caller, filename: str, contents: IO[bytes], size: int, expiry: Expiry | None = None
    ) -> FileObject:
        """Keep an upload, for which there is `room`."""
        file = new_file(filename, size, now=time.time(), expiry=expiry)

        def keep() -> None:
            with replaced(self._store.path(file.id)) as blob:
                shutil.copyfileobj(contents, blob, 1 << 20)
            self._store.save_file(file, caller.key_id)

        await in_thread(keep)
        return file

    async def get(self, caller: Caller, file_id: str) -> FileObject:
        """Raises `NotFound`, also for one that has expired."""
        await self.sweep()
        return await in_thread(self._store.file, file_id, whose(caller))

    async def contents(self, caller: Caller, file_id: str) -> tuple[FileObject, IO[bytes]]:
        """What is in a file, for whoever asks to close. Raises `NotFound`."""
        file = await self.get(caller, file_id)
        return file, await in_thread(self._store.path(file_id).open, "rb")

    async def page(self, caller: Caller, page: Page, purpose: str | None = None) -> list[FileObject]:
        """The caller's own, an operator's key everybody's. Raises `NotFound` for a page after a file that isn't there."""
        await self.sweep()
        return await in_thread(self._store.files, whose(caller), page, purpose)

    async def delete(self, caller: Caller, file_id: str) -> None:
        """Raises `NotFound`, and `RequestError` for one that a batch reads."""
        await self.get(caller, file_id)
        if file_id in await in_thread(self._store.files_in_use):
            raise RequestError(f"A batch that is not over needs the file {file_id!r}.", param="file_id", code="in_use")
        await in_thread(self._store.delete_file, file_id)

    async def sweep(self) -> None:
        """Delete what has expired."""
        if expired := await in_thread(self._store.expired_files, time.time()):
            in_use = await in_thread(self._store.files_in_use)
            for file_id in expired:
                if file_id not in in_use:
                    await in_thread(self._store.delete_file, file_id)


def whose(caller: Caller) -> str | None:
    """An operator's key may look at everybody's, which None stands for."""
    return None if caller.admin else caller.key_id


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Work on the store. Raises `LedgerUnavailable` for what database or disk can't do now, or have not begun by `PATIENCE_S`."""
    begun = THREADS.submit(work, *args, **kwargs)
    ended = asyncio.wrap_future(begun)
    try:
        await asyncio.wait({ended}, timeout=PATIENCE_S)
        if not ended.done() and begun.cancel():
            raise LedgerUnavailable("files and batches can't be kept at the moment")
        return await ended
    except SwitchyardError:
        raise
    except (SQLAlchemyError, OSError) as exc:
        logger.error("files and batches can't be kept: %s", getattr(exc, "orig", None) or exc)  # noqa: TRY400
        raise LedgerUnavailable("files and batches can't be kept at the moment") from exc
    finally:
        ended.cancel()  # what nobody waits for any more
