"""Where files and batches are kept: what is known of them in the ledger's database, what files hold in a folder.

    store = Store("sqlite:///.switchyard/ledger.db", Path(".switchyard/batches"))
    store.open()
    store.save_file(file, key_id)
    with replaced(store.path(file.id)) as blob: ...

Several gateways may have it open, and take files and batches; the one that holds the claim runs them. Every method blocks, for
about a millisecond. Who may see what is decided by whoever asks: `key_id` None means everybody's. Not here: what becomes of a batch
(`batches.py`), and whose claim it is (`claims.py`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from orchestrator.bulk.claims import claim_of
from orchestrator.bulk.objects import CANCELLABLE, FileObject, Owned, counted, entered
from orchestrator.bulk.run import Counts, Spent
from orchestrator.errors import ConfigError, NotFound
from orchestrator.ledger import schema
from orchestrator.ledger.database import connect, upsert

LEASE_S = 20.0
"""After which another gateway runs the batches of one that is gone, where they share no operating system that tells it."""
LEFTOVER_S = 3600.0
"""So long a file that no row speaks of may be one that another gateway is about to speak of; journals are the holder's own."""

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """Of a list. after: the id before its first. newest_first: by when they were made."""

    limit: int
    after: str | None = None
    newest_first: bool = True


class Store:
    """url: of the database. folder: of what files hold, one for all gateways. lease_s: as in `claims.py`."""

    def __init__(self, url: str, folder: Path, *, lease_s: float = LEASE_S) -> None:
        self._url = url
        self._folder = folder
        self.lease_s = lease_s
        self._unreadable: set[str] = set()

    def open(self) -> None:
        """Raises `NoCapacity` for a folder that isn't the other gateways', and OSError and `SQLAlchemyError`."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._engine = connect(self._url)
        except ConfigError as exc:  # of interest to whoever reads the log, and not to clients
            raise OSError(exc.message) from exc
        try:
            self._claim = claim_of(self._engine, self._folder, lease_s=self.lease_s)
        except BaseException:  # whatever it is, no connection is left behind
            self._engine.dispose()
            raise

    def close(self) -> None:
        """Another gateway may run the batches at once."""
        try:
            self._claim.give_back()
        finally:
            self._engine.dispose()

    def claim(self) -> float:
        """Run the batches from now on, or go on with it. Returns until when, in monotonic seconds; 0 while another gateway does."""
        return self._claim.take()

    def discard_leftovers(self) -> None:
        """Delete what a process that was killed left half made: for whoever holds the claim.

        What is there is looked up before what is known of it: so nothing goes that was begun meanwhile, however long that took.
        """
        made = time.time() - LEFTOVER_S
        there = [*self._folder.glob("file-*.jsonl"), *self._folder.glob(".file-*.tmp")]
        journals = list(self._folder.glob("batch_*.journal"))
        files, batches = schema.files.c, schema.batches.c
        with self._engine.connect() as connection:
            kept = {self.path(file_id) for file_id in connection.scalars(sa.select(files.id))}
            kept |= {self.journal(each) for each in connection.scalars(sa.select(batches.id).where(~batches.is_over))}
        for entry, before in (*((each, made) for each in there), *((each, float("inf")) for each in journals)):
            with suppress(FileNotFoundError):  # whoever was at it has ended meanwhile
                if entry not in kept and entry.stat().st_mtime < before:
                    entry.unlink()

    @property
    def folder(self) -> Path:
        """Where all is kept."""
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

    def add_batch(self, owned: Owned) -> None:
        """For whoever runs them, which may be another gateway."""
        with self._engine.begin() as connection:
            connection.execute(schema.batches.insert(), _batch_row(owned))

    def save_batch(self, owned: Owned, outputs: Iterable[FileObject] = ()) -> None:
        """What has become of it. Raises `LedgerUnavailable` where another gateway runs it by now."""
        table, row = schema.batches, _batch_row(owned)
        with self._engine.begin() as connection:
            self._claim.require(connection)
            for file in outputs:
                _save_file(connection, file, owned.caller.key_id)
            connection.execute(table.update().where(table.c.id == owned.batch.id), row)

    def save_progress(self, done: Mapping[str, tuple[Counts, Spent]]) -> None:
        """How far batches are, by their ids, for gateways that don't run them. Raises `LedgerUnavailable` as `save_batch` does."""
        table = schema.batches
        update = table.update().where(table.c.id == sa.bindparam("batch_id"))
        rows = [{"batch_id": each, "progress": msgspec.json.encode(far)} for each, far in done.items()]
        with self._engine.begin() as connection:
            self._claim.require(connection)
            connection.execute(update.values(progress=sa.bindparam("progress")), rows)

    def cancel(self, batch_id: str, now: float) -> bool:
        """Have whoever runs it cancel it; false when it is over."""
        table = schema.batches
        asked = table.update().where(table.c.id == batch_id, ~table.c.is_over).values(cancelling_at=int(now))
        with self._engine.begin() as connection:
            return connection.execute(asked).rowcount == 1

    def batch(self, batch_id: str, key_id: str | None) -> Owned:
        """As it is, and as others have asked it to be. Raises `NotFound`."""
        return _owned(self._one(schema.batches, batch_id, key_id, "batch"))

    def batches(self, key_id: str | None, page: Page) -> list[Owned]:
        """Raises `NotFound` for a page after something that isn't there."""
        return [_owned(row) for row in self._page(schema.batches, key_id, page)]

    def unfinished(self) -> list[Owned]:
        """In the order in which they were made. One that can't be read is passed over, and stays as it is."""
        table = schema.batches
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(table).where(~table.c.is_over).order_by(table.c.number)).all()
        found = []
        for row in rows:
            try:
                found.append(_owned(row))
            except (msgspec.DecodeError, UnicodeDecodeError):
                if row.id not in self._unreadable:
                    self._unreadable.add(row.id)
                    logger.exception("batch %s is not over and can't be read; it does not go on", row.id)
        return found

    def num_unfinished(self, key_id: str) -> int:
        columns = schema.batches.c
        query = sa.select(sa.func.count()).where(~columns.is_over, columns.key_id == key_id)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def files_in_use(self) -> set[str]:
        """Ids of those that batches which aren't over read."""
        return {owned.batch.input_file_id for owned in self.unfinished()}

    def _one(self, table: sa.Table, wanted: str, key_id: str | None, what: str) -> sa.Row[Any]:
        query = _visible(sa.select(table), table, key_id).where(table.c.id == wanted)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise NotFound(f"There is no {what} {wanted!r}.", param=f"{what}_id")
        return row

    def _page(
        self, table: sa.Table, key_id: str | None, page: Page, *alike: sa.ColumnElement[bool]
    ) -> Sequence[sa.Row[Any]]:
        number = table.c.number
        query = _visible(sa.select(table), table, key_id).where(*alike).limit(page.limit)
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
    insert = upsert(connection, schema.files).values(row)
    connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_=row))


def _batch_row(owned: Owned) -> dict[str, Any]:
    return {
        "id": owned.batch.id,
        "key_id": owned.caller.key_id,
        "is_over": owned.batch.is_over,
        "record": msgspec.json.encode(owned),
    }


def _owned(row: sa.Row[Any]) -> Owned:
    """What whoever runs the batch has written, with how far it is, and with the wish of another gateway's client to cancel it."""
    owned = _decoded(row, Owned)
    batch = owned.batch
    if batch.is_over:
        return owned
    if row.progress is not None:
        batch = counted(batch, *msgspec.json.decode(row.progress, type=tuple[Counts, Spent]))
    if row.cancelling_at is not None and batch.status in CANCELLABLE:
        batch = entered(batch, "cancelling", now=row.cancelling_at)
    return msgspec.structs.replace(owned, batch=batch)


def _visible(query: sa.Select[Any], table: sa.Table, key_id: str | None) -> sa.Select[Any]:
    return query if key_id is None else query.where(table.c.key_id == key_id)


def _decoded(row: sa.Row[Any], kind: type[T]) -> T:
    return msgspec.json.decode(row.record, type=kind)
