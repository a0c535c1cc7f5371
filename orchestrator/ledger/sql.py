"""The ledger in SQLite or PostgreSQL, by SQLAlchemy: decisions in batches off the request path, feedback durable at once.

    ledger = SQLLedger("sqlite:///.switchyard/ledger.db")
    await ledger.open()
    ledger.record(decision)                  # microseconds: a batch is written about twice a second

One thread owns the connection, so the event loop never waits for a disk. Several gateways may write one database. A decision that
can't be written is kept and tried again until the database is back (`pending.py`); whoever asks meanwhile is told within
`PATIENCE_S`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DataError, SQLAlchemyError

from orchestrator.errors import LedgerUnavailable, NotFound
from orchestrator.ledger import schema
from orchestrator.ledger.base import Rewarded, Routed
from orchestrator.ledger.database import connect, serialise, upsert
from orchestrator.ledger.outcomes import Given, outcome, routed, was_routed
from orchestrator.ledger.pending import Pending, Row, decoded
from orchestrator.types import Decision, Feedback, Kind
from routers.base import Outcome

BATCH_INTERVAL_S = 0.5
PAGE = 1_000
"""Decisions that are read at once."""
PATIENCE_S = 5.0
"""By when a request is answered, whatever has become of the database."""
LATE_S = 2 * BATCH_INTERVAL_S
"""By when another gateway has written a decision that it has just made."""
LOOK_AGAIN_S = 0.1
RETRY_S = 1.0

logger = logging.getLogger(__name__)
T = TypeVar("T")


class SQLLedger:
    """Implements `orchestrator.ledger.base.Ledger`. keep_text: whether queries' texts are stored."""

    def __init__(self, url: str, *, keep_text: bool = True) -> None:
        self._url = url
        self._keep_text = keep_text
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._pending = Pending()
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    @property
    def lost(self) -> int:
        """Decisions that were given up."""
        return self._pending.lost

    async def open(self) -> None:
        """Make the tables, or bring them up to date. Raises `ConfigError` when the database can't be used, and `MissingExtra`."""
        self._engine = await self._in_thread(lambda: connect(self._url))
        self._writer = asyncio.create_task(self._write_batches(), name="ledger-writer")

    def record(self, decision: Decision) -> None:
        if not self._keep_text:
            decision.text, decision.transcript, decision.details = "", [], {}
        self._pending.add(decision)
        self._wake.set()

    async def decision(self, decision_id: str) -> Decision | None:
        """One that another gateway has just made is waited for until it is written."""
        if pending := self._pending.get(decision_id):
            return pending
        async with _promptly():
            found = await self._stored(decision_id)
            while found is None and abs(time.time() - _made_at(decision_id)) < LATE_S:
                await asyncio.sleep(LOOK_AGAIN_S)
                found = await self._stored(decision_id)
        return found

    async def _stored(self, decision_id: str) -> Decision | None:
        rows = await self._read(sa.select(schema.decisions.c.record).where(schema.decisions.c.id == decision_id))
        return decoded(rows[0][0]) if rows else None

    async def feedback(self, feedback: Feedback) -> None:
        if await self.decision(feedback.decision_id) is None:
            raise NotFound(f"there is no decision '{feedback.decision_id}'", param="decision_id")
        row = {**asdict(feedback), "created_at": time.time()}

        def insert(connection: sa.Connection) -> None:
            # One after the other, so that whoever has read up to a number misses none below it.
            serialise(connection, "feedback")
            connection.execute(schema.feedback.insert(), row)

        async with _promptly():
            if feedback.decision_id in self._pending:
                await self._flush()
            await self._write(insert)

    async def collection(self, key_id: str, kind: Kind, name: str) -> str | None:
        columns = schema.collections.c
        mine = sa.and_(columns.key_id == key_id, columns.kind == kind, columns.name == name)
        async with _promptly():
            rows = await self._read(sa.select(columns.expert).where(mine))
        return rows[0][0] if rows else None

    async def create_collection(self, key_id: str, kind: Kind, name: str, expert: str) -> str:
        row = {"key_id": key_id, "kind": kind, "name": name, "expert": expert}
        async with _promptly():
            await self._write(lambda c: c.execute(upsert(c, schema.collections).on_conflict_do_nothing(), row))
        return await self.collection(key_id, kind, name) or expert

    async def outcomes(self) -> AsyncIterator[Outcome]:
        """Decisions that got a score, in the order of their first scores. Of several scores for one expert the last counts.

        Left out are those whose text was not kept, panels (no expert's own answer was judged), and what nobody answered.
        """
        async for rewarded in self.rewarded():
            yield rewarded.outcome

    async def rewarded(self, after: int = 0) -> AsyncIterator[Rewarded]:
        """`outcomes` of the decisions whose first score has a higher number."""
        await self._flush()
        columns, earlier = schema.feedback.c, schema.feedback.alias().c
        has_earlier = (
            sa.exists()
            .where(earlier.decision_id == columns.decision_id)
            .where(earlier.id < columns.id)
            .where(earlier.score.is_not(None))
        )
        scored = (
            sa.select(columns.id, schema.decisions.c.record)
            .join(schema.decisions, schema.decisions.c.id == columns.decision_id)
            .where(columns.score.is_not(None), ~has_earlier)
            .order_by(columns.id)
            .limit(PAGE)
        )
        while page := await self._read(scored.where(columns.id > after)):
            decisions = [(number, decision) for number, record in page if (decision := decoded(record)) is not None]
            given = await self._feedback_on(decision.id for _, decision in decisions)
            for number, decision in decisions:
                if decision.text and decision.mode != "panel" and decision.expert is not None:
                    learned = outcome(decision, decision.expert, given[decision.id])
                    yield Rewarded(number, decision.artifact, learned)
            after = page[-1][0]

    async def routed(self, policy: str, *, since: float = 0.0) -> AsyncIterator[Routed]:
        """Left out: what nobody answered, what was not chosen by scores, and decisions whose text or propensities weren't kept."""
        columns = schema.decisions.c
        async for decisions in self._pages(since, columns.policy == policy, columns.status == 200):
            given = await self._feedback_on(decision.id for decision in decisions)
            for decision in decisions:
                if decision.text and decision.propensities and decision.expert is not None and was_routed(decision):
                    yield routed(decision, decision.expert, given[decision.id])

    async def decisions(self, *, since: float = 0.0) -> AsyncIterator[Decision]:
        async for decisions in self._pages(since):
            for decision in decisions:
                yield decision

    async def _pages(self, since: float, *conditions: sa.ColumnElement[bool]) -> AsyncIterator[list[Decision]]:
        """Decisions from then on, in order of time."""
        await self._flush()
        columns = schema.decisions.c
        made = (
            sa.select(columns.created_at, columns.id, columns.record)
            .where(columns.created_at >= since, *conditions)
            .order_by(columns.created_at, columns.id)
            .limit(PAGE)
        )
        page = await self._read(made)
        while page:
            yield [decision for _, _, record in page if (decision := decoded(record)) is not None]
            last = sa.tuple_(*page[-1][:2])
            page = await self._read(made.where(sa.tuple_(columns.created_at, columns.id) > last))

    async def _feedback_on(self, decision_ids: Iterable[str]) -> Mapping[str, list[Given]]:
        """All feedback on these decisions, in the order it came."""
        columns = schema.feedback.c
        query = (
            sa.select(columns.decision_id, columns.expert, columns.score, columns.correction)
            .where(columns.decision_id.in_(list(decision_ids)))
            .order_by(columns.id)
        )
        given: defaultdict[str, list[Given]] = defaultdict(list)
        for decision_id, *rest in await self._read(query):
            given[decision_id].append(Given(*rest))
        return given

    async def close(self) -> None:
        try:
            if self._writer is not None:
                self._writer.cancel()
                await asyncio.gather(self._writer, return_exceptions=True)
                with suppress(LedgerUnavailable):
                    for page in self._pending.pages():
                        async with _promptly():
                            await self._store(page)
                if self._pending:
                    logger.error("%d decisions could not be written to the ledger", len(self._pending))
                await self._run(self._engine.dispose)
        finally:
            await asyncio.to_thread(self._thread.shutdown)

    async def _write_batches(self) -> None:
        """Write what is pending, about twice a second, for as long as the ledger is open."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._flush()
            except Exception as error:  # whatever it was, later decisions must not be lost with the writer
                told = None if isinstance(error, LedgerUnavailable) else error
                logger.warning(
                    "%d decisions wait until the ledger can be written again", len(self._pending), exc_info=told
                )
                self._wake.set()
                await asyncio.sleep(RETRY_S)
            await asyncio.sleep(BATCH_INTERVAL_S)

    async def _flush(self) -> None:
        """Write what is pending now, a page in each transaction. What stands there already, of two flushes at once, stays."""
        for page in self._pending.pages():
            await self._store(page)

    async def _store(self, rows: Sequence[Row]) -> None:
        """What the database refuses for what it holds must not hold up the others."""
        try:
            await self._write(partial(_insert_decisions, rows))
        except LedgerUnavailable as error:
            if not isinstance(error.__cause__, DataError):
                raise
            if len(rows) == 1:
                self._pending.refuse(rows[0])
                return
            half = len(rows) // 2
            await self._store(rows[:half])
            await self._store(rows[half:])
        else:
            self._pending.remove(rows)

    async def _write(self, write: Callable[[sa.Connection], object]) -> None:
        """Durable when it returns."""

        def transaction() -> None:
            with self._engine.begin() as connection:
                write(connection)

        await self._run(transaction)

    async def _read(self, query: sa.Select[Any]) -> Sequence[Any]:
        def read() -> Sequence[Any]:
            with self._engine.connect() as connection:
                return connection.execute(query).all()

        return await self._run(read)

    async def _run(self, work: Callable[[], T]) -> T:
        """Raises `LedgerUnavailable` for what the database can't do now."""
        try:
            return await self._in_thread(work)
        except SQLAlchemyError as exc:
            logger.error("the ledger can't be used: %s", getattr(exc, "orig", None) or exc)  # noqa: TRY400
            raise LedgerUnavailable("the ledger can't be used at the moment") from exc

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _made_at(decision_id: str) -> float:
    """The Unix time in the id of a decision, as gateways make them; 0 for any other."""
    try:
        return int(decision_id[3:15], 16) / 1000
    except ValueError:
        return 0.0


def _insert_decisions(rows: Sequence[Row], connection: sa.Connection) -> None:
    """The driver gets rows as they are: SQLAlchemy's work on each parameter costs as much as SQLite's on the whole row."""
    insert = upsert(connection, schema.decisions).on_conflict_do_nothing().compile(connection, column_keys=Row._fields)
    connection.exec_driver_sql(str(insert), [*rows] if insert.positional else [row._asdict() for row in rows])


@asynccontextmanager
async def _promptly() -> AsyncIterator[None]:
    """For what a request waits for. What has not begun by then is not done any more; what has may still be."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield
    except TimeoutError as exc:
        raise LedgerUnavailable("the ledger can't be used at the moment") from exc
