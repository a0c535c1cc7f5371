"""The ledger's tables, in SQLAlchemy Core, the same on every database it runs on.

    metadata.create_all(engine)

A decision is one JSON record plus the columns that are searched by, and so are a file and a batch (`orchestrator/bulk/store.py`).
`SCHEMA_VERSION` goes up with every change of a table; one that is new is made where it is missing.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table, Text

SCHEMA_VERSION = 1

metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

decisions = Table(
    "decisions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("created_at", Float, nullable=False),
    Column("key_id", String(128), nullable=False),
    Column("policy", String(160), nullable=False),
    Column("expert", String(160)),
    Column("status", Integer, nullable=False),
    Column("cost_usd", Float, nullable=False),
    Column("record", LargeBinary, nullable=False),  # the whole Decision as JSON
    Index("decisions_created_at", "created_at"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("decision_id", String(64), ForeignKey("decisions.id"), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("key_id", String(128), nullable=False),
    Column("expert", String(160)),
    Column("score", Float),
    Column("comment", Text),
    Column("correction", Text),
    Index("feedback_decision_id", "decision_id"),
)

collections = Table(
    "collections",
    metadata,
    Column("key_id", String(128), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("name", String(256), primary_key=True),
    Column("expert", String(160), nullable=False),
)

files = Table(
    "files",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),  # the order in which they were made
    Column("id", String(64), nullable=False, unique=True),
    Column("key_id", String(128), nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("expires_at", Integer, nullable=False),
    Column("record", LargeBinary, nullable=False),  # the whole FileObject as JSON
)

batches = Table(
    "batches",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("key_id", String(128), nullable=False),
    Column("is_over", Boolean, nullable=False),
    Column("record", LargeBinary, nullable=False),  # the whole batch with its caller as JSON
)
