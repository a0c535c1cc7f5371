"""The ledger's database, SQLite or PostgreSQL: opened, and what differs between the two.

    engine = connect("postgresql://switchyard@db.internal/switchyard")   # the password from $PGPASSWORD or ~/.pgpass

What is raised and logged never holds the URL, whose password is nobody's business. Not here: tables (`schema.py`), and their
versions (`migrations.py`).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from orchestrator.errors import ConfigError, MissingExtra
from orchestrator.ledger.migrations import migrate

POSTGRESQL = "postgresql+psycopg"
CONNECTION: Mapping[str, str | int] = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "options": "-c idle_in_transaction_session_timeout=30s -c statement_timeout=60s",
    "application_name": "switchyard",
}
"""As libpq has it (in s, `tcp_user_timeout` in ms); the URL may say otherwise.

Soon enough we notice a server that is gone, and the server that we are, amid a transaction, and lets go of its locks. One that
stands still is noticed by `watched.py`.
"""
BUSY_S = 5.0
"""How long SQLite's locks are waited for."""
RETRY_S = 0.01
_EXPECTED = "expected sqlite:///PATH of a file that can be written, or postgresql://USER@HOST/DATABASE"
_LOCKS = {"migrations": 1, "feedback": 2}
_LOCK_CLASS = 0x5359
"""Of PostgreSQL's advisory locks, which everything in one database shares."""

Serial = Literal["migrations", "feedback"]


def connect(url: str) -> sa.Engine:
    """Open the database, and bring its tables up to date.

    Raises `ConfigError` for a URL of another kind and for what can't be opened, and `MissingExtra`.
    """
    target = _parsed(url)
    try:
        return _up_to_date(_engine(target))
    except (SQLAlchemyError, OSError) as exc:
        said = str(getattr(exc, "orig", None) or exc)  # the driver's own words, without the statement
        raise ConfigError(f"ledger.url: can't open the database ({' '.join(said.split())}); {_EXPECTED}") from exc


def require_shared(url: str | None) -> None:
    """Refuse a `ledger.url` that gateways on several machines can't share. Raises `ConfigError`. None: the default, a file."""
    if url is None or _parsed(url).get_backend_name() == "sqlite":
        raise ConfigError(
            "ledger.url: SQLite is a file for the gateways of one machine, and these run on several; "
            "expected postgresql://USER@HOST/DATABASE"
        )


def is_postgresql(on: sa.Connection | sa.Engine) -> bool:
    return on.dialect.name == "postgresql"


def upsert(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """An insert that can say what becomes of a row that is there already."""
    return postgresql.insert(table) if is_postgresql(connection) else sqlite.insert(table)


def serialise(connection: sa.Connection, what: Serial) -> None:
    """As the first thing of a transaction: whoever does the same elsewhere waits for its end. SQLite has one writer anyway."""
    if is_postgresql(connection):
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_CLASS, _LOCKS[what])))
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def file_of(url: str | sa.URL) -> Path | None:
    """The file of a SQLite URL; None where the database is none."""
    target = _parsed(url)
    database = target.database if target.get_backend_name() == "sqlite" else None
    return None if not database or database == ":memory:" or database.startswith("file:") else Path(database)


def _parsed(url: str | sa.URL) -> sa.URL:
    try:
        target = sa.make_url(url)
    except (ArgumentError, ValueError):
        # Not chained: it quotes what stands where the port should be, which may be a piece of a password.
        raise ConfigError(f"ledger.url: this is no URL; {_EXPECTED}, special characters as %XX") from None
    if target.drivername in ("postgresql", POSTGRESQL):
        if "@" in f"{target.host}{target.database}":
            raise ConfigError("ledger.url: expected special characters of a password as %XX, an @ as %40")
        return target.set(drivername=POSTGRESQL)
    if target.get_backend_name() != "sqlite":
        raise ConfigError(f"ledger.url: got '{target.drivername}', {_EXPECTED}")
    return target


def _up_to_date(engine: sa.Engine) -> sa.Engine:
    try:
        with engine.begin() as connection:
            # What is missing is looked for and made under one lock: gateways may start together.
            serialise(connection, "migrations")
            migrate(connection)
    except BaseException:  # whatever it is, no connection is left behind
        engine.dispose()
        raise
    return engine


def _engine(target: sa.URL) -> sa.Engine:
    if target.get_backend_name() == "sqlite":
        if (file := file_of(target)) is not None:
            _make_private(file)
        engine = sa.create_engine(target, hide_parameters=True)
        sa.event.listen(engine, "connect", _durable)
        return engine
    defaults = {name: value for name, value in CONNECTION.items() if name not in target.query}
    try:
        from orchestrator.ledger import watched
    except ImportError as exc:
        raise MissingExtra("ledger.url: PostgreSQL", "postgres") from exc
    engine = sa.create_engine(
        target, hide_parameters=True, pool_pre_ping=True, pool_size=2, max_overflow=6, connect_args=defaults
    )
    sa.event.listen(engine, "do_connect", watched.connect)
    return engine


def _make_private(path: Path) -> None:
    """What people asked is for the owner's eyes: a new folder is 0700, a new file 0600, as SQLite makes those beside it then."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)


def _durable(connection: Any, _: object) -> None:
    """SQLite: readers don't block the writer, and what is committed survives a power cut."""
    connection.execute(f"PRAGMA busy_timeout={BUSY_S * 1000:g}").close()
    _write_ahead(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Of several that change an old file's journal at once, SQLite tells all but one that it is locked, without any waiting."""
    give_up_at = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                raise
            time.sleep(RETRY_S)
