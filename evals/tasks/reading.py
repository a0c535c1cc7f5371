"""Benchmark files in their published formats: JSON lines (gzipped or not), a JSON array, or Parquet, as typed rows.

    for number, row in read_rows(Path("test.jsonl"), GSM8KRow):   # GSM8KRow: a msgspec.Struct with the format's fields
        ...

A row that is not as its Struct says is a `DataError` that names file, line (or number of the row) and what was expected; fields
that the Struct doesn't name are left alone, as published files grow more of them. Not here: the formats (`published.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from orchestrator.errors import DataError, MissingExtra
from routers.data.outcomes import OutcomeError, read_lines
from routers.data.parquet import read_columns

Row = TypeVar("Row", bound=msgspec.Struct)


def read_rows(path: Path, kind: type[Row]) -> Iterator[tuple[int, Row]]:
    """Every row with its number from 1. Raises `DataError`; `MissingExtra` for Parquet without the extra `train`."""
    number = 0
    try:
        for number, value in _numbered(path):
            yield number, msgspec.convert(value, kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise DataError(f"{path}:{number or 1}: {exc}") from exc
    except OutcomeError as exc:
        raise DataError(str(exc)) from exc
    except OSError as exc:
        raise DataError(f"{path}: can't be read: {exc.strerror or exc}") from exc
    if not number:
        raise DataError(f"{path}: there is nothing in it")


def _numbered(path: Path) -> Iterator[tuple[int, Any]]:
    if path.suffix == ".parquet":
        try:
            yield from enumerate(read_columns(path), 1)
        except ImportError as exc:
            raise MissingExtra("Parquet", "train") from exc
    elif path.suffix == ".json" and (whole := path.read_bytes()).lstrip()[:1] == b"[":
        yield from enumerate(msgspec.json.decode(whole, type=list[Any]), 1)
    else:
        for number, line in read_lines(path):
            yield number, _decoded(path, number, line)


def _decoded(path: Path, number: int, line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise DataError(f"{path}:{number}: expected a JSON object ({exc})") from exc
