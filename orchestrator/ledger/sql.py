"""The ledger in SQLite, by SQLAlchemy: decisions in batches off the request path, feedback durable at once.

    ledger = SQLLedger("sqlite:///.switchyard/ledger.db")
    await ledger.open()
    ledger.record(decision)                  # microseconds: a batch is written about twice a second

One thread owns the connection, so the event loop never waits for a disk. A decision that can't be written is kept and tried again;
past `MAX_PENDING` the oldest are given up, and counted in `lost`, as is what can't be stored at all.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from orchestrator.errors import ConfigError, LedgerUnavailable, NotFound
from orchestrator.ledger import schema
from orchestrator.ledger.base import Rewarded, Routed
from orchestrator.types import Decision, Feedback, Kind
from routers.base import Outcome

BATCH_INTERVAL_S = 0.5
MAX_PENDING = 100_000
PAGE = 1_000

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
            self._engine = await self._in_thread(lambda: connect(self._url))
        except (SQLAlchemyError, OSError, ImportError) as exc:
            reason = getattr(exc, "orig", None) or exc  # the driver's own words, without the statement
            raise ConfigError(
                f"ledger.url: can't open the database ({reason}); expected sqlite:///PATH of a file that can be written"
            ) from exc
        self._writer = asyncio.create_task(self._write_batches(), name="ledger-writer")

    def record(self, decision: Decision) -> None:
        if not self._keep_text:
            decision.text, decision.transcript, decision.details = "", [], {}
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

    async def collection(self, key_id: str, kind: Kind, name: str) -> str | None:
        columns = schema.collections.c
        mine = sa.and_(columns.key_id == key_id, columns.kind == kind, columns.name == name)
        rows = await self._read(sa.select(columns.expert).where(mine))
        return rows[0][0] if rows else None

    async def create_collection(self, key_id: str, kind: Kind, name: str, expert: str) -> str:
        try:
            await self._insert(schema.collections, {"key_id": key_id, "kind": kind, "name": name, "expert": expert})
        except IntegrityError:
            # Another request created it meanwhile, and the first one counts.
            return await self.collection(key_id, kind, name) or expert
        return expert

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
            decisions = [(number, msgspec.json.decode(record, type=Decision)) for number, record in page]
            given = await self._feedback_on(decision.id for _, decision in decisions)
            for number, decision in decisions:
                if decision.text and decision.mode != "panel" and decision.expert is not None:
                    outcome = _outcome(decision, decision.expert, given[decision.id])
                    yield Rewarded(number, decision.artifact, outcome)
            after = page[-1][0]

    async def routed(self, policy: str, *, since: float = 0.0) -> AsyncIterator[Routed]:
        """Left out: what nobody answered, what was not chosen by scores, and decisions whose text or propensities weren't kept."""
        columns = schema.decisions.c
        async for decisions in self._pages(since, columns.policy == policy, columns.status == 200):
            given = await self._feedback_on(decision.id for decision in decisions)
            for decision in decisions:
                if decision.text and decision.propensities and decision.expert is not None and _was_routed(decision):
                    yield _routed(decision, decision.expert, given[decision.id])

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
            yield [msgspec.json.decode(record, type=Decision) for _, _, record in page]
            last = sa.tuple_(*page[-1][:2])
            page = await self._read(made.where(sa.tuple_(columns.created_at, columns.id) > last))

    async def _feedback_on(self, decision_ids: Iterable[str]) -> Mapping[str, list[_Given]]:
        """All feedback on these decisions, in the order it came."""
        columns = schema.feedback.c
        query = (
            sa.select(columns.decision_id, columns.expert, columns.score, columns.correction)
            .where(columns.decision_id.in_(list(decision_ids)))
            .order_by(columns.id)
        )
        given: defaultdict[str, list[_Given]] = defaultdict(list)
        for decision_id, *rest in await self._read(query):
            given[decision_id].append(_Given(*rest))
        return given

    async def close(self) -> None:
        try:
            if self._writer is not None:
                self._writer.cancel()
                await asyncio.gather(self._writer, return_exceptions=True)
                with suppress(LedgerUnavailable):
                    await self._flush()
                if self._pending:
                    logger.error("%d decisions could not be written to the ledger", len(self._pending))
                await self._run(self._engine.dispose)
        finally:
            self._thread.shutdown()

    async def _write_batches(self) -> None:
        """Write what is pending, about twice a second, for as long as the ledger is open."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._flush()
            except Exception:  # whatever it was, later decisions must not be lost with the writer
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
        stored = await self._run(lambda: self._write(batch))
        for decision in batch:
            if self._pending.pop(decision.id, None) is not None and decision.id not in stored:
                self.lost += 1

    def _write(self, batch: Sequence[Decision]) -> set[str]:
        """In one transaction; returns the ids that stand there. One that did already (two flushes at once) is left as it is."""
        rows = [row for decision in batch if (row := _decision_row(decision)) is not None]
        if rows:
            with self._engine.begin() as connection:
                connection.execute(sqlite.insert(schema.decisions).on_conflict_do_nothing(), rows)
        return {row["id"] for row in rows}

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
        """Raises `LedgerUnavailable` for what the database can't do now, and `IntegrityError`."""
        try:
            return await self._in_thread(work)
        except IntegrityError:
            raise
        except SQLAlchemyError as exc:
            logger.error("the ledger can't be used: %s", getattr(exc, "orig", None) or exc)  # noqa: TRY400
            raise LedgerUnavailable("the ledger can't be used at the moment") from exc

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def connect(url: str) -> sa.Engine:
    """Open the database, create what is missing, and refuse (OSError) one that a newer Switchyard wrote."""
    target = sa.make_url(url)
    if target.get_backend_name() != "sqlite":
        raise OSError(f"'{target.get_backend_name()}' is not supported yet, only sqlite is")
    if target.database:
        _make_private(target.database)
    engine = sa.create_engine(target)
    sa.event.listen(engine, "connect", _durable)
    with engine.begin() as connection:
        # What is missing is looked for and created under one lock: gateways may start together.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        schema.metadata.create_all(connection)
        found = connection.execute(sa.select(schema.schema_version.c.version)).scalar()
        if found is None:
            connection.execute(schema.schema_version.insert(), {"version": schema.SCHEMA_VERSION})
        elif found != schema.SCHEMA_VERSION:
            raise OSError(f"it has schema version {found}, and this Switchyard writes version {schema.SCHEMA_VERSION}")
    return engine


def _make_private(database: str) -> None:
    """What people asked is for the owner's eyes: a new folder is 0700, a new file 0600, as SQLite makes those beside it then."""
    path = Path(database)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if is_file(database):
        path.touch(mode=0o600)


def is_file(database: str | None) -> TypeGuard[str]:
    """Whether the database of a SQLite URL is a path."""
    return bool(database) and database != ":memory:" and not str(database).startswith("file:")


def _durable(connection: Any, _: object) -> None:
    """SQLite: readers don't block the writer, and what is committed survives a power cut."""
    for pragma in ("busy_timeout=5000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _decision_row(decision: Decision) -> dict[str, Any] | None:
    """None for a decision that is no JSON (half a surrogate pair in its text): it must not hold up those behind it."""
    try:
        record = msgspec.json.encode(decision)
    except (ValueError, TypeError):
        logger.exception("decision %s can't be stored", decision.id)
        return None
    return {
        "id": decision.id,
        "created_at": decision.created_at,
        "key_id": decision.key_id,
        "policy": decision.policy,
        "expert": decision.expert,
        "status": decision.status,
        "cost_usd": decision.cost_usd,
        "record": record,
    }


class _Given(NamedTuple):
    """One piece of feedback. expert: whom it is about, if not who answered."""

    expert: str | None
    score: float | None
    correction: str | None


def _outcome(decision: Decision, answered: str, given: Sequence[_Given]) -> Outcome:
    """A scored decision as an outcome. The cost is that of the expert that answered, and of nobody else.

    An expert that was called by name, that a collection belongs to, or whose answer was held back first, was not chosen by scores
    alone: it has no propensity. Beside it stand the propensities of those that could have been bound and have no reward.
    """
    rewards = _scores(given, answered)
    others = {name: chance for name, chance in decision.propensities.items() if name not in rewards}
    corrections = [piece.correction for piece in given if piece.correction]
    return Outcome(
        id=decision.id,
        query=decision.text,
        rewards=rewards,
        costs={answered: _cost_of(decision, answered)} if answered in rewards else {},
        propensity={answered: decision.propensity} | others if answered in rewards and _was_routed(decision) else {},
        target=corrections[-1] if corrections else None,
    )


def _routed(decision: Decision, answered: str, given: Sequence[_Given]) -> Routed:
    reward = _scores(given, answered).get(answered)
    return Routed(decision.text, answered, reward, _cost_of(decision, answered), decision.propensities)


def _scores(given: Sequence[_Given], answered: str) -> dict[str, float]:
    """The last score of each expert that got one."""
    return {piece.expert or answered: piece.score for piece in given if piece.score is not None}


def _cost_of(decision: Decision, answered: str) -> float:
    """In USD. Where answers were held back, the others', and what was asked to judge them, are no cost of who answered."""
    if decision.mode not in ("cascade", "adaptive"):
        return decision.cost_usd
    own = [a.cost_usd for a in decision.attempts if a.expert == answered and a.purpose in ("answer", "sample")]
    return own[-1] if own else sum(a.cost_usd for a in decision.attempts if a.purpose != "sample")


def _was_routed(decision: Decision) -> bool:
    """Whether a policy chose by a router's scores, one decision at a time."""
    return decision.router is not None and decision.mode == "one" and decision.kind in ("chat", "completion")
