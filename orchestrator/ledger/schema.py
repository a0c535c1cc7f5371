"""The ledger's tables, in SQLAlchemy Core, the same on every database it runs on.

    metadata.create_all(engine)

A decision is one JSON record plus the columns that are searched by. `SCHEMA_VERSION` goes up with every change of the tables.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table, Text

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
