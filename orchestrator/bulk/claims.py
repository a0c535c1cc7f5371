"""Which of several gateways runs the batches: one at a time, and another when it is gone.

    claim = claim_of(engine, folder, lease_s=20.0)
    if claim.take() > time.monotonic(): ...       # mine until then; taken again and again

On SQLite, whose gateways are all on one machine, it is a lock on a file, which the operating system gives back whatever ends the
process. On PostgreSQL it is a row with a time: who doesn't renew it in time has lost it. There the folder of files has to be one
that all gateways share, which a mark in it shows. Not here: what is done with the claim (`batches.py`).
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from orchestrator.errors import LedgerUnavailable, NoCapacity
from orchestrator.ledger import schema
from orchestrator.ledger.database import is_postgresql, upsert

NAME = "batches"
MARK = "mark"
LOCK = "lock"


class Claim(Protocol):
    def take(self) -> float:
        """Take or keep it. Returns until when it is surely held, in monotonic seconds, 0 while another gateway has it."""
        ...

    def require(self, connection: sa.Connection) -> None:
        """In a transaction that only the holder may make. Raises `LedgerUnavailable` when it is another's."""
        ...

    def give_back(self) -> None: ...


def claim_of(engine: sa.Engine, folder: Path, *, lease_s: float) -> Claim:
    """Raises `NoCapacity` for a folder that isn't the one of the other gateways, and OSError and `SQLAlchemyError`."""
    if not is_postgresql(engine):
        return FileClaim(folder / LOCK)
    claim = RowClaim(engine, lease_s=lease_s)
    claim.require_shared(folder)
    return claim


class FileClaim:
    """Held for as long as the file is open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def take(self) -> float:
        if self._file is None:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                os.close(file)
                if isinstance(exc, BlockingIOError):
                    return 0.0
                raise
            self._file = file
        return float("inf")

    def require(self, connection: sa.Connection) -> None:
        """Nobody can have taken it."""

    def give_back(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class RowClaim:
    """lease_s: after which another gateway may take what was not renewed, by the database's clock."""

    def __init__(self, engine: sa.Engine, *, lease_s: float) -> None:
        self._engine = engine
        self._lease_s = lease_s
        self._owner = secrets.token_hex(12)

    def require_shared(self, folder: Path) -> None:
        """Raises `NoCapacity` unless the folder bears the mark that the first gateway has put into its own."""
        mark = _marked(folder)
        columns = schema.claims.c
        row = {"name": NAME, "owner": "", "expires_at": 0.0, "folder": mark}
        with self._engine.begin() as connection:
            connection.execute(upsert(connection, schema.claims).on_conflict_do_nothing(), row)
            known = connection.execute(sa.select(columns.folder).where(columns.name == NAME)).scalar_one()
        if known != mark:
            raise NoCapacity(
                "Files and batches are kept in a folder that this gateway does not share with the others; "
                "`batches.folder` must be one folder for all of them."
            )

    def take(self) -> float:
        """Half of the lease is left to stop in."""
        began, columns = time.monotonic(), schema.claims.c
        now = sa.extract("epoch", sa.func.clock_timestamp())
        renewed = (
            sa.update(schema.claims)
            .where(columns.name == NAME, sa.or_(columns.owner == self._owner, columns.expires_at < now))
            .values(owner=self._owner, expires_at=now + self._lease_s)
        )
        with self._engine.begin() as connection:
            is_mine = connection.execute(renewed).rowcount == 1
        return began + self._lease_s / 2 if is_mine else 0.0

    def require(self, connection: sa.Connection) -> None:
        """Until the transaction ends nobody can take it."""
        columns = schema.claims.c
        mine = sa.select(columns.name).where(columns.name == NAME, columns.owner == self._owner)
        if connection.execute(mine.with_for_update(read=True)).first() is None:
            raise LedgerUnavailable("another gateway runs the batches by now")

    def give_back(self) -> None:
        columns = schema.claims.c
        mine = sa.update(schema.claims).where(columns.name == NAME, columns.owner == self._owner)
        with self._engine.begin() as connection:
            connection.execute(mine.values(owner="", expires_at=0.0))


def _marked(folder: Path) -> str:
    """The folder's mark; who comes first makes it, whole or not at all."""
    mark, own = folder / MARK, folder / f".{MARK}-{secrets.token_hex(8)}"
    if not mark.exists():
        own.write_text(secrets.token_hex(12))
        try:
            with suppress(FileExistsError):
                mark.hardlink_to(own)
        finally:
            own.unlink()
    return mark.read_text()
