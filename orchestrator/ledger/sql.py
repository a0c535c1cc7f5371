"""The ledger in a SQL database, SQLite by default: decisions in batches off the request path, feedback durable at once.

    ledger = SQLLedger("sqlite:///.switchyard/ledger.db")
    await ledger.open()
    ledger.record(decision)                  # microseconds: a batch is written about ten times a second

One thread owns the connection, so the event loop never waits for a disk. A decision that can't be written is kept and tried again;
past `MAX_PENDING` the oldest are given up, and counted in `lost`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from orchestrator.errors import ConfigError, NotFound
from orchestrator.ledger import schema
from orchestrator.types import Decision, Feedback
from routers.base import Outcome

BATCH_INTERVAL_S = 0.1
MAX_PENDING = 100_000
PAGE = 1_000

_UPSERTS: dict[str, Callable[[sa.Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

logger = logging.getLogger(__name__)
T = TypeVar("T")


class SQLLedger:
    """Implements `orchestrator.ledger.base.Ledger`. keep_text: whether queries' texts are stored."""

    def __init__(self, url: str, *, keep_text: bool = True) -> None:
        self._url = url
        self._keep_text = keep_text
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._pending: dict[str, Decision] = {}
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self.lost = 0

    async def open(self) -> None:
        """Create the tables if need be. Raises `ConfigError` when the database can't be used."""
        try:
            self._engine = await self._run(lambda: _connect(self._url))
        except (SQLAlchemyError, OSError, ImportError) as exc:
            reason = getattr(exc, "orig", None) or exc  # the driver's own words, without the statement
            raise ConfigError(
                f"ledger.url: can't open the database ({reason}); expected a writable SQLAlchemy URL"
            ) from exc
        self._writer = asyncio.create_task(self._write_batches(), name="ledger-writer")

    def record(self, decision: Decision) -> None:
        if not self._keep_text:
            decision.text = ""
        self._pending[decision.id] = decision
        if len(self._pending) > MAX_PENDING:
            del self._pending[next(iter(self._pending))]
            self.lost += 1
        self._wake.set()

    async def decision(self, decision_id: str) -> Decision | None:
        if pending := self._pending.get(decision_id):
            return pending
        rows = await self._read(sa.select(schema.decisions.c.record).where(schema.decisions.c.id == decision_id))
        return msgspec.json.decode(rows[0][0], type=Decision) if rows else None

    async def feedback(self, feedback: Feedback) -> None:
        if await self.decision(feedback.decision_id) is None:
            raise NotFound(f"there is no decision '{feedback.decision_id}'", param="decision_id")
        if feedback.decision_id in self._pending:
            await self._flush()
        await self._insert(schema.feedback, {**asdict(feedback), "created_at": time.time()})

    async def collection(self, key_id: str, name: str) -> str | None:
        mine = sa.and_(schema.collections.c.key_id == key_id, schema.collections.c.name == name)
        rows = await self._read(sa.select(schema.collections.c.expert).where(mine))
        return rows[0][0] if rows else None

    async def create_collection(self, key_id: str, name: str, expert: str) -> str:
        try:
            await self._insert(schema.collections, {"key_id": key_id, "name": name, "expert": expert})
        except IntegrityError:
            # Another request created it meanwhile, and the first one counts.
            return await self.collection(key_id, name) or expert
        return expert

    async def outcomes(self) -> AsyncIterator[Outcome]:
        """Decisions that got a score, in the order of their scores. The last score counts."""
        await self._flush()
        newest = (
            sa.select(sa.func.max(schema.feedback.c.id))
            .where(schema.feedback.c.score.is_not(None))
            .group_by(schema.feedback.c.decision_id)
        )
        scored = (
            sa.select(
                schema.feedback.c.id, schema.decisions.c.record, schema.feedback.c.expert, schema.feedback.c.score
            )
            .join(schema.decisions, schema.decisions.c.id == schema.feedback.c.decision_id)
            .where(schema.feedback.c.id.in_(newest))
            .order_by(schema.feedback.c.id)
            .limit(PAGE)
        )
        after = 0
        while page := await self._read(scored.where(schema.feedback.c.id > after)):
            for _, record, expert, score in page:
                yield _outcome(msgspec.json.decode(record, type=Decision), expert, score)
            after = page[-1][0]

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
            await self._flush()
            await self._run(self._engine.dispose)
        self._thread.shutdown()

    async def _write_batches(self) -> None:
        """Write what is pending, about ten times a second, for as long as the ledger is open."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._flush()
            except SQLAlchemyError:
                logger.exception(
                    "the ledger can't be written; %d decisions are kept to be tried again", len(self._pending)
                )
                self._wake.set()
                await asyncio.sleep(1.0)
            await asyncio.sleep(BATCH_INTERVAL_S)

    async def _flush(self) -> None:
        batch = list(self._pending.values())
        if not batch:
            return
        await self._run(lambda: self._write([_decision_row(decision) for decision in batch]))
        for decision in batch:
            self._pending.pop(decision.id, None)

    def _write(self, rows: list[dict[str, Any]]) -> None:
        """In one transaction; a decision that stands there already (two flushes at once) is left as it is."""
        with self._engine.begin() as connection:
            connection.execute(_UPSERTS[self._engine.dialect.name](schema.decisions).on_conflict_do_nothing(), rows)

    async def _insert(self, table: sa.Table, row: dict[str, Any]) -> None:
        def insert() -> None:
            with self._engine.begin() as connection:
                connection.execute(table.insert(), row)

        await self._run(insert)

    async def _read(self, query: sa.Select[Any]) -> Sequence[Any]:
        def read() -> Sequence[Any]:
            with self._engine.connect() as connection:
                return connection.execute(query).all()

        return await self._run(read)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _connect(url: str) -> sa.Engine:
    """Open the database, create what is missing, and refuse one that a newer Switchyard wrote."""
    target = sa.make_url(url)
    if target.get_backend_name() not in _UPSERTS:
        raise OSError(f"'{target.get_backend_name()}' is not supported; known are {', '.join(_UPSERTS)}")
    if target.get_backend_name() == "sqlite" and target.database:
        Path(target.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(target)
    if target.get_backend_name() == "sqlite":
        sa.event.listen(engine, "connect", _durable)
    with engine.begin() as connection:
        if (
            engine.name == "sqlite"
        ):  # what is missing is looked for and created under one lock: gateways may start together
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        schema.metadata.create_all(connection)
        found = connection.execute(sa.select(schema.schema_version.c.version)).scalar()
        if found is None:
            connection.execute(schema.schema_version.insert(), {"version": schema.SCHEMA_VERSION})
        elif found != schema.SCHEMA_VERSION:
            raise OSError(f"it has schema version {found}, and this Switchyard writes version {schema.SCHEMA_VERSION}")
    return engine


def _durable(connection: Any, _: object) -> None:
    """SQLite: readers don't block the writer, and what is committed survives a power cut."""
    for pragma in ("busy_timeout=5000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _decision_row(decision: Decision) -> dict[str, Any]:
    return {
        "id": decision.id,
        "created_at": decision.created_at,
        "key_id": decision.key_id,
        "policy": decision.policy,
        "expert": decision.expert,
        "status": decision.status,
        "cost_usd": decision.cost_usd,
        "record": msgspec.json.encode(decision),
    }


def _outcome(decision: Decision, expert: str | None, score: float) -> Outcome:
    """A scored decision as an outcome: one expert was tried, with a known propensity."""
    rewarded = expert or decision.expert or ""
    return Outcome(
        id=decision.id,
        query=decision.text,
        rewards={rewarded: score},
        costs={rewarded: decision.cost_usd},
        propensity={rewarded: decision.propensity},
    )
