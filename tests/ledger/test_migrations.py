"""A database of an earlier version is brought to this one with all it holds; one of a later version is refused."""

import asyncio

import msgspec
import pytest
import sqlalchemy as sa

from orchestrator.errors import ConfigError
from orchestrator.ledger import schema
from orchestrator.ledger.database import connect
from orchestrator.ledger.migrations import VERSION
from orchestrator.ledger.sql import SQLLedger
from orchestrator.types import Feedback
from tests.support.ledger import decision, opened
from tests.support.postgres import KINDS, database_url

VERSION_1 = """
CREATE TABLE schema_version (version {serial} NOT NULL, PRIMARY KEY (version));
CREATE TABLE decisions (
  id VARCHAR(64) NOT NULL, created_at FLOAT NOT NULL, key_id VARCHAR(128) NOT NULL, policy VARCHAR(160) NOT NULL,
  expert VARCHAR(160), status INTEGER NOT NULL, cost_usd FLOAT NOT NULL, record {blob} NOT NULL, PRIMARY KEY (id)
);
CREATE INDEX decisions_created_at ON decisions (created_at);
CREATE TABLE feedback (
  id {serial} NOT NULL, decision_id VARCHAR(64) NOT NULL, created_at FLOAT NOT NULL, key_id VARCHAR(128) NOT NULL,
  expert VARCHAR(160), score FLOAT, comment TEXT, correction TEXT,
  PRIMARY KEY (id), FOREIGN KEY(decision_id) REFERENCES decisions (id)
);
CREATE INDEX feedback_decision_id ON feedback (decision_id);
CREATE TABLE collections (
  key_id VARCHAR(128) NOT NULL, kind VARCHAR(16) NOT NULL, name VARCHAR(256) NOT NULL, expert VARCHAR(160) NOT NULL,
  PRIMARY KEY (key_id, kind, name)
)
"""
"""Before there were batches: they came without a new version, since a table that is missing is made."""
BATCHES_OF_VERSION_1 = """
CREATE TABLE files (
  number {serial} NOT NULL, id VARCHAR(64) NOT NULL, key_id VARCHAR(128) NOT NULL, purpose VARCHAR(32) NOT NULL,
  expires_at INTEGER NOT NULL, record {blob} NOT NULL, PRIMARY KEY (number), UNIQUE (id)
);
CREATE TABLE batches (
  number {serial} NOT NULL, id VARCHAR(64) NOT NULL, key_id VARCHAR(128) NOT NULL, is_over BOOLEAN NOT NULL,
  record {blob} NOT NULL, PRIMARY KEY (number), UNIQUE (id)
)
"""


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


WITH_BATCHES = f"{VERSION_1};{BATCHES_OF_VERSION_1}"


@pytest.fixture(params=[VERSION_1, WITH_BATCHES], ids=["without batches", "with batches"])
def old(request, kind, tmp_path):
    return old_database(kind, tmp_path, request.param)


def old_database(kind, folder, tables):
    """The URL of a database of version 1 with one decision."""
    url = database_url(kind, folder)
    types = {"serial": "INTEGER", "blob": "BLOB"} if kind == "sqlite" else {"serial": "SERIAL", "blob": "BYTEA"}
    if kind == "sqlite":
        (folder / "nested").mkdir()
    made = decision()
    row = {"id": made.id, "created_at": made.created_at, "key_id": "anonymous", "policy": "auto", "status": 200}
    with engine_of(url).begin() as connection:
        for statement in tables.format(**types).split(";"):
            connection.exec_driver_sql(statement)
        connection.execute(schema.schema_version.insert(), {"version": 1})
        connection.execute(schema.decisions.insert(), {**row, "cost_usd": 0.0, "record": msgspec.json.encode(made)})
    return url


def engine_of(url):
    return sa.create_engine(url, poolclass=sa.NullPool)


def tables_of(url):
    """What is there, but for the widths of numbers; in SQLite lengths of texts are only words."""
    inspector = sa.inspect(engine_of(url))
    return {
        table: (
            {(each["name"], each["nullable"], length_of(url, each["type"])) for each in inspector.get_columns(table)},
            inspector.get_pk_constraint(table)["constrained_columns"],
            [each["referred_table"] for each in inspector.get_foreign_keys(table)],
            {tuple(each["column_names"]) for each in inspector.get_indexes(table)},
        )
        for table in inspector.get_table_names()
    }


def length_of(url, kind):
    return kind.length if isinstance(kind, sa.String) and not url.startswith("sqlite") else None


async def test_what_an_old_database_holds_stays(old):
    async with opened(old) as ledger:
        await ledger.feedback(Feedback("sw-1", score=1.0))
        assert [outcome.rewards async for outcome in ledger.outcomes()] == [{"a": 1.0}]
    with engine_of(old).begin() as connection:
        assert connection.scalars(sa.select(schema.schema_version.c.version)).all() == [VERSION]


def test_an_old_database_becomes_what_a_new_one_is(kind, old, tmp_path):
    new = database_url(kind, tmp_path / "new")
    for url in (old, new, old):
        connect(url).dispose()
    assert tables_of(old) == tables_of(new)


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
async def test_names_may_be_longer_than_an_old_postgresql_had_room_for(old):
    async with opened(old) as ledger:
        ledger.record(decision("sw-2", key_id="k" * 1_000))
    async with opened(old) as again:
        assert (await again.decision("sw-2")).key_id == "k" * 1_000


async def test_gateways_that_start_together_bring_an_old_database_here_once(old):
    ledgers = [SQLLedger(old) for _ in range(8)]
    await asyncio.gather(*(ledger.open() for ledger in ledgers))
    assert await ledgers[0].decision("sw-1") is not None
    await asyncio.gather(*(ledger.close() for ledger in ledgers))


def test_a_step_that_fails_leaves_the_database_as_it_was(kind, tmp_path):
    url = old_database(kind, tmp_path, WITH_BATCHES)
    with engine_of(url).begin() as connection:
        connection.exec_driver_sql("ALTER TABLE batches ADD COLUMN progress INTEGER")  # the second that the step adds
    before = tables_of(url)
    with pytest.raises(ConfigError, match=r"ledger\.url"):
        connect(url)
    assert tables_of(url) == before


def test_a_database_of_a_newer_switchyard_is_refused(kind, tmp_path):
    url = database_url(kind, tmp_path)
    connect(url).dispose()
    with engine_of(url).begin() as connection:
        connection.execute(schema.schema_version.update(), {"version": VERSION + 1})
    with pytest.raises(ConfigError, match=f"version {VERSION + 1}, and this Switchyard knows up to {VERSION}"):
        connect(url)
