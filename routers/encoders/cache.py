"""Vectors that were computed once, on disk: for training and sweeps, which encode the same texts again and again.

    encoder = CachedEncoder(minilm, Path("vectors.db"))
    encoder.encode(queries)          # those seen before are read from the file

One SQLite file for all encoders, keyed by an encoder's fingerprint and a text's hash, so that texts themselves aren't kept. Several
processes may use it at once. It stays below `max_bytes`, the oldest vectors go first; a damaged file is begun anew, with a warning
in the log. Not for the request path: a model of a few milliseconds is hardly slower than a disk.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from routers.base import Encoder, FloatArray
from routers.encoders import JoinedEncoder

PAGE = 500
SHARE_DROPPED = 0.1
"""Of the rows, when the file is full."""

_vectors = sa.Table(
    "vectors",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("key", sa.LargeBinary(16), unique=True, nullable=False),
    sa.Column("vector", sa.LargeBinary, nullable=False),
)

_CREATE = sa.schema.CreateTable(_vectors, if_not_exists=True)

logger = logging.getLogger(__name__)
T = TypeVar("T")


class CachedEncoder:
    """The vectors and the fingerprint are `encoder`'s own. Texts are encoded `PAGE` at a time, and kept as they come."""

    def __init__(self, encoder: Encoder, path: Path, *, max_bytes: int = 4_000_000_000) -> None:
        self.encoder = encoder
        self.path = path
        self.max_bytes = max_bytes

    @property
    def fingerprint(self) -> str:
        return self.encoder.fingerprint

    @property
    def dimensions(self) -> int:
        return self.encoder.dimensions

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Shape `(len(texts), dimensions)`, rows of length 1. Thread-safe."""
        keys = [self._key(text) for text in texts]
        found: dict[bytes, FloatArray] = {}
        for start in range(0, len(texts), PAGE):
            page = dict(zip(keys[start : start + PAGE], texts[start : start + PAGE], strict=True))
            found |= self._page({key: text for key, text in page.items() if key not in found})
        return np.stack([found[key] for key in keys]) if keys else self.encoder.encode([])

    def _page(self, texts: dict[bytes, str]) -> dict[bytes, FloatArray]:
        """The vectors of these texts by their keys; what is new is encoded and kept."""
        if not texts:
            return {}
        found = self._mended(lambda: self._read(list(texts)))
        if missing := [key for key in texts if key not in found]:
            new = dict(zip(missing, self.encoder.encode([texts[key] for key in missing]), strict=True))
            self._mended(lambda: self._write(new))
            found |= new
        return found

    def _key(self, text: str) -> bytes:
        digest = hashlib.blake2b(self.fingerprint.encode(), digest_size=16)
        digest.update(b"\0" + text.encode("utf-8", "surrogatepass"))
        return digest.digest()

    @cached_property
    def _engine(self) -> sa.Engine:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # No pool: a connection belongs to one thread and ends with its transaction.
        return sa.create_engine(f"sqlite:///{self.path}", poolclass=sa.NullPool, connect_args={"timeout": 60.0})

    def _read(self, keys: list[bytes]) -> dict[bytes, FloatArray]:
        with self._engine.begin() as connection:
            connection.execute(_CREATE)
            rows = connection.execute(sa.select(_vectors.c.key, _vectors.c.vector).where(_vectors.c.key.in_(keys)))
            return {key: np.frombuffer(vector, dtype=np.float32) for key, vector in rows}

    def _write(self, vectors: dict[bytes, FloatArray]) -> None:
        rows = [{"key": key, "vector": np.ascontiguousarray(vector).tobytes()} for key, vector in vectors.items()]
        with self._engine.begin() as connection:
            connection.execute(_CREATE)
            connection.execute(sqlite.insert(_vectors).on_conflict_do_nothing(), rows)
            self._drop_oldest(connection)

    def _drop_oldest(self, connection: sa.Connection) -> None:
        def pragma(name: str) -> int:
            return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())

        used = (pragma("page_count") - pragma("freelist_count")) * pragma("page_size")
        if used > self.max_bytes:
            first, last = connection.execute(sa.select(sa.func.min(_vectors.c.id), sa.func.max(_vectors.c.id))).one()
            share = max(SHARE_DROPPED, 1.0 - self.max_bytes / used + SHARE_DROPPED)
            connection.execute(_vectors.delete().where(_vectors.c.id < first + share * (last + 1 - first)))

    def _mended(self, work: Callable[[], T]) -> T:
        """What `work` returns; a damaged file is deleted first, once."""
        try:
            return work()
        except sa.exc.DatabaseError as exc:
            if not _is_damage(exc.orig):
                raise
            logger.warning("the cache of vectors %s is damaged (%s) and is begun anew", self.path, exc.orig)
            for suffix in ("", "-journal"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            return work()


def _is_damage(error: Any) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def uncached(encoder: Encoder) -> Encoder:
    """The same encoder, or join of encoders, without caches: for the request path, and to measure its time."""
    if isinstance(encoder, CachedEncoder):
        return uncached(encoder.encoder)
    if isinstance(encoder, JoinedEncoder):
        return JoinedEncoder([uncached(part) for part in encoder.parts], encoder.weights)
    return encoder
