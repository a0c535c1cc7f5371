"""The versions of the ledger's tables, and the way from each to the next.

    with engine.begin() as connection:
        migrate(connection)                      # an empty database, or one of any earlier version, is of this one then

A new database is made as `schema.py` has it; an older one is brought there step by step, in the caller's one transaction, so it is
never half done. To change a table: change it in `schema.py`, and add a step that does the same to one that is there. Steps name
columns themselves, since `schema.py` goes on.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from orchestrator.errors import ConfigError
from orchestrator.ledger import schema

Step = Callable[[sa.Connection], None]


def migrate(connection: sa.Connection) -> None:
    """Nobody else may do this meanwhile. Raises `ConfigError` for what a newer Switchyard wrote."""
    found = _version(connection)
    if found is not None and found > VERSION:
        raise ConfigError(f"ledger.url: the database is of version {found}, and this Switchyard knows up to {VERSION}")
    for step in STEPS[found - 1 :] if found is not None else ():
        step(connection)
    schema.metadata.create_all(connection)
    if found is None:
        connection.execute(schema.schema_version.insert(), {"version": VERSION})
    elif found < VERSION:
        connection.execute(schema.schema_version.update(), {"version": VERSION})


def _version(connection: sa.Connection) -> int | None:
    if not sa.inspect(connection).has_table(schema.schema_version.name):
        return None
    version: int | None = connection.execute(sa.select(schema.schema_version.c.version)).scalar()
    return version


def _add_column(connection: sa.Connection, table: str, column: sa.Column[object]) -> None:
    """To a table that is there; one that is missing is made whole afterwards."""
    if sa.inspect(connection).has_table(table):
        described = sa.schema.CreateColumn(column).compile(dialect=connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {described}")


def _batches_of_several_gateways(connection: sa.Connection) -> None:
    _add_column(connection, "batches", sa.Column("cancelling_at", sa.BigInteger))
    _add_column(connection, "batches", sa.Column("progress", sa.LargeBinary))


def _texts_of_any_length(connection: sa.Connection) -> None:
    """In PostgreSQL, which refuses a longer one; SQLite never did. Nothing is rewritten but times of files."""
    if connection.dialect.name != "postgresql":
        return
    inspector = sa.inspect(connection)
    for table in ("decisions", "feedback", "collections", "files", "batches"):
        for column in inspector.get_columns(table) if inspector.has_table(table) else ():
            if isinstance(column["type"], sa.String) and column["type"].length is not None:
                connection.exec_driver_sql(f"ALTER TABLE {table} ALTER COLUMN {column['name']} TYPE TEXT")
    if inspector.has_table("files"):
        connection.exec_driver_sql("ALTER TABLE files ALTER COLUMN expires_at TYPE BIGINT")


STEPS: tuple[Step, ...] = (_batches_of_several_gateways, _texts_of_any_length)
"""The first leads from version 1 to version 2, and so on."""
VERSION = 1 + len(STEPS)
