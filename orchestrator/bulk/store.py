"""Where files and batches are kept: what is known of them in the ledger's database, what files hold in a folder beside it.

    store = Store("sqlite:///.switchyard/ledger.db", Path(".switchyard"))
    store.open()
    store.save_file(file, key_id)
    with replaced(store.path(file.id)) as blob: ...

Every method blocks, for about a millisecond. Who may see what is decided by whoever asks: `key_id` None means everybody's. Not
here: what becomes of a batch (`batches.py`).
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from orchestrator.bulk.objects import FileObject, Owned
from orchestrator.errors import NoCapacity, NotFound
from orchestrator.ledger import schema
from orchestrator.ledger.sql import connect, is_file

FOLDER = "batches"

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """Of a list. after: the id before its first. newest_first: by when they were made."""

    limit: int
    after: str | None = None
    newest_first: bool = True


class Store:
    """url: of the database, beside which `batches` is made. folder: where that is made beside a database that is no file."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder / FOLDER
        self._lock: int | None = None

    def open(self) -> None:
        """Delete what a process that was killed left half made.

        Raises `NoCapacity` while another process has it open: batches are run by one. And OSError, `SQLAlchemyError`.
        """
        if is_file(database := sa.make_url(self._url).database):
            self._folder = Path(database).parent / FOLDER
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._engine = connect(self._url)
        except BaseException as exc:  # whatever it is, the descriptor must not stay
            os.close(lock)
            if isinstance(exc, BlockingIOError):
                raise NoCapacity("Batches are run by another gateway that shares this one's ledger.") from exc
            raise
        self._lock = lock
        try:
            self._discard_leftovers()
        except BaseException:  # whatever it is, another try must find the lock free
            self.close()
            raise

    def close(self) -> None:
        if self._lock is not None:
            self._engine.dispose()
            os.close(self._lock)
            self._lock = None

    def _discard_leftovers(self) -> None:
        """What `path`, `journal` and `replaced` have made, and no row speaks of."""
        files, batches = schema.files.c, schema.batches.c
        with self._engine.connect() as connection:
            kept = {self.path(file_id).name for file_id in connection.scalars(sa.select(files.id))}
            kept |= {
                self.journal(each).name for each in connection.scalars(sa.select(batches.id).where(~batches.is_over))
            }
        for pattern in ("file-*.jsonl", "batch_*.journal", ".file-*.tmp"):
            for entry in self._folder.glob(pattern):
                if entry.name not in kept:
                    entry.unlink(missing_ok=True)

    @property
    def folder(self) -> Path:
        """Where all is kept, once it is open."""
        return self._folder

    def path(self, file_id: str) -> Path:
        """Where a file's contents are."""
        return self._folder / f"{file_id}.jsonl"

    def journal(self, batch_id: str) -> Path:
        """Where a batch that is under way keeps what is done of it."""
        return self._folder / f"{batch_id}.journal"

    # Files

    def save_file(self, file: FileObject, key_id: str) -> None:
        with self._engine.begin() as connection:
            _save_file(connection, file, key_id)

    def file(self, file_id: str, key_id: str | None) -> FileObject:
        """Raises `NotFound`; somebody else's is as unknown as one that never was."""
        return _decoded(self._one(schema.files, file_id, key_id, "file"), FileObject)

    def files(self, key_id: str | None, page: Page, purpose: str | None = None) -> list[FileObject]:
        """Raises `NotFound` for a page after something that isn't there."""
        alike = () if purpose is None else (schema.files.c.purpose == purpose,)
        return [_decoded(row, FileObject) for row in self._page(schema.files, key_id, page, *alike)]

    def delete_file(self, file_id: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(sa.delete(schema.files).where(schema.files.c.id == file_id))
        self.path(file_id).unlink(missing_ok=True)

    def expired_files(self, now: float) -> list[str]:
        with self._engine.connect() as connection:
            return list(connection.scalars(sa.select(schema.files.c.id).where(schema.files.c.expires_at <= now)))

    def stored_bytes(self) -> int:
        """What all files take, and the journals of batches under way."""
        total = 0
        for entry in self._folder.iterdir():
            with suppress(FileNotFoundError):  # it was replaced, or deleted, meanwhile
                total += entry.stat().st_size
        return total

    # Batches

    def end_batch(self, owned: Owned, outputs: Iterable[FileObject]) -> None:
        """Both its last state and its output files are there, or neither. Its journal is not needed any more."""
        self.save_batch(owned, outputs)
        self.journal(owned.batch.id).unlink(missing_ok=True)

    def save_batch(self, owned: Owned, outputs: Iterable[FileObject] = ()) -> None:
        row = {
            "id": owned.batch.id,
            "key_id": owned.caller.key_id,
            "is_over": owned.batch.is_over,
            "record": msgspec.json.encode(owned),
        }
        insert = sqlite.insert(schema.batches).values(row)
        with self._engine.begin() as connection:
            for file in outputs:
                _save_file(connection, file, owned.caller.key_id)
            connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_=row))

    def batch(self, batch_id: str, key_id: str | None) -> Owned:
        """Raises `NotFound`."""
        return _decoded(self._one(schema.batches, batch_id, key_id, "batch"), Owned)

    def batches(self, key_id: str | None, page: Page) -> list[Owned]:
        """Raises `NotFound` for a page after something that isn't there."""
        return [_decoded(row, Owned) for row in self._page(schema.batches, key_id, page)]

    def unfinished(self) -> list[Owned]:
        """In the order in which they were made. One that can't be read is passed over, and stays as it is."""
        table = schema.batches
        query = sa.select(table.c.record).where(~table.c.is_over).order_by(table.c.number)
        with self._engine.connect() as connection:
            records = connection.scalars(query).all()
        found = []
        for record in records:
            try:
                found.append(msgspec.json.decode(record, type=Owned))
            except (msgspec.DecodeError, UnicodeDecodeError):
                logger.exception("a batch that is not over can't be read, and does not go on: %.200r", record)
        return found

    def _one(self, table: sa.Table, wanted: str, key_id: str | None, what: str) -> sa.Row[Any]:
        query = _visible(sa.select(table.c.record, table.c.number), table, key_id).where(table.c.id == wanted)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise NotFound(f"There is no {what} {wanted!r}.", param=f"{what}_id")
        return row

    def _page(
        self, table: sa.Table, key_id: str | None, page: Page, *alike: sa.ColumnElement[bool]
    ) -> Sequence[sa.Row[Any]]:
        number = table.c.number
        query = _visible(sa.select(table.c.record), table, key_id).where(*alike).limit(page.limit)
        query = query.order_by(number.desc() if page.newest_first else number)
        if page.after is not None:
            last = self._one(table, page.after, key_id, "file" if table is schema.files else "batch").number
            query = query.where(number < last if page.newest_first else number > last)
        with self._engine.connect() as connection:
            return connection.execute(query).all()


def _save_file(connection: sa.Connection, file: FileObject, key_id: str) -> None:
    row = {
        "id": file.id,
        "key_id": key_id,
        "purpose": file.purpose,
        "expires_at": file.expires_at,
        "record": msgspec.json.encode(file),
    }
    insert = sqlite.insert(schema.files).values(row)
    connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_=row))


def _visible(query: sa.Select[Any], table: sa.Table, key_id: str | None) -> sa.Select[Any]:
    return query if key_id is None else query.where(table.c.key_id == key_id)


def _decoded(row: sa.Row[Any], kind: type[T]) -> T:
    return msgspec.json.decode(row.record, type=kind)
