"""The ledger's tables, in SQLAlchemy Core, the same on SQLite and PostgreSQL.

    metadata.create_all(engine)

A decision is one JSON record plus the columns that are searched by, and so are a file and a batch (`orchestrator/bulk/store.py`).
Every change of a table needs a step in `migrations.py`; a new table is made where it is missing.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
)


def storable(text: str) -> str:
    """`text` without what PostgreSQL can't hold (NUL) and what no encoding has (half a surrogate pair)."""
    if text.isprintable():
        return text
    return text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


class Words(TypeDecorator[str]):
    """A text of any length, made `storable`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


Number = BigInteger().with_variant(Integer, "sqlite")
"""Counted up by the database, which SQLite does for INTEGER alone, of 64 bits there."""

metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

decisions = Table(
    "decisions",
    metadata,
    Column("id", Words, primary_key=True),
    Column("created_at", Float, nullable=False),
    Column("key_id", Words, nullable=False),
    Column("policy", Words, nullable=False),
    Column("expert", Words),
    Column("status", Integer, nullable=False),
    Column("cost_usd", Float, nullable=False),
    Column("record", LargeBinary, nullable=False),  # the whole Decision as JSON
    Index("decisions_created_at", "created_at"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("decision_id", Words, ForeignKey("decisions.id"), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("key_id", Words, nullable=False),
    Column("expert", Words),
    Column("score", Float),
    Column("comment", Words),
    Column("correction", Words),
    Index("feedback_decision_id", "decision_id"),
)

collections = Table(
    "collections",
    metadata,
    Column("key_id", Words, primary_key=True),
    Column("kind", Words, primary_key=True),
    Column("name", Words, primary_key=True),
    Column("expert", Words, nullable=False),
)

files = Table(
    "files",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),  # the order in which they were made
    Column("id", Words, nullable=False, unique=True),
    Column("key_id", Words, nullable=False),
    Column("purpose", Words, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("record", LargeBinary, nullable=False),  # the whole FileObject as JSON
)

batches = Table(
    "batches",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("id", Words, nullable=False, unique=True),
    Column("key_id", Words, nullable=False),
    Column("is_over", Boolean, nullable=False),
    Column("record", LargeBinary, nullable=False),  # the whole batch with its caller as JSON, by whoever runs it
    Column("cancelling_at", BigInteger),  # when a gateway that doesn't run it was asked to cancel it
    Column("progress", LargeBinary),  # what is done of it, as JSON, for gateways that don't run it
)

claims = Table(
    "claims",  # what one gateway at a time does
    metadata,
    Column("name", Words, primary_key=True),
    Column("owner", Words, nullable=False),
    Column("expires_at", Float, nullable=False),  # by the database's clock
    Column("folder", Words, nullable=False),  # the mark of the folder that all of them share
)
