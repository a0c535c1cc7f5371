"""Rows of foreign files, with the place they stand at, so that what is wrong with one can be told.

    for record in records(Path("samples.jsonl")):
        record.text("query"), record.reward("performance")      # OutcomeError: samples.jsonl:3: field 'performance': expected ...

Gzipped files are read when their names end in `.gz`. Pickles are never opened: loading one runs what it holds.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from routers.data.outcomes import Invalid, OutcomeError, json_object, located, query_text, read_lines, shown

_PICKLES = frozenset({".pkl", ".pickle"})


@dataclass(frozen=True, slots=True)
class Record:
    """path, number: where it stands (line or row, from 1). values: what stands there."""

    path: Path
    number: int
    values: Mapping[str, Any]

    def text(self, name: str) -> str:
        """A text, or chat messages as one."""
        value = self._required(name)
        try:
            return query_text(value)
        except Invalid as exc:
            raise self.wrong(name, "text or a list of chat messages") from exc

    def optional_text(self, name: str) -> str | None:
        """A text or number as text; None for anything else."""
        value = self.values.get(name)
        return value if isinstance(value, str) else str(value) if _is_number(value) else None

    def reward(self, name: str) -> float:
        """A number of 0..1, or a truth value. In a CSV it may be written out."""
        value = as_number(self._required(name))
        if value is None or not 0.0 <= value <= 1.0:
            raise self.wrong(name, "a number from 0 to 1")
        return value

    def cost(self, name: str) -> float | None:
        """A number of at least 0, if there is one."""
        value = as_number(self.values.get(name))
        return value if value is not None and 0.0 <= value < float("inf") else None

    def wrong(self, name: str, wanted: str) -> OutcomeError:
        """The error for a field that is not what was wanted."""
        got = shown(self.values[name]) if name in self.values else "nothing"
        return OutcomeError(f"{self.path}:{self.number}: field '{name}': expected {wanted}, got {got}")

    def _required(self, name: str) -> Any:
        if name not in self.values:
            raise OutcomeError(f"{self.path}:{self.number}: the field '{name}' is missing")
        return self.values[name]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_number(value: Any) -> float | None:
    """Numbers and truth values, as they are or written out; None for anything else, and for NaN."""
    if isinstance(value, str):
        value = {"true": 1.0, "false": 0.0}.get(value.strip().lower(), value)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if number != number else number


def records(path: Path) -> Iterator[Record]:
    """The lines of a JSON lines file, the rows of a CSV or Parquet file, or the objects in a JSON file's list."""
    refuse_pickle(path)
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if kind == ".jsonl":
        for number, line in read_lines(path):
            with located(path, number):
                values = json_object(line)
            yield Record(path, number, values)
    elif kind == ".json":
        yield from records_of(path, read_json(path), "a list of objects")
    elif kind in (".csv", ".parquet"):
        rows = _csv_rows(path) if kind == ".csv" else _parquet_rows(path)
        yield from (Record(path, number, row) for number, row in enumerate(rows, start=1))
    else:
        raise OutcomeError(f"{path}: expected a name that ends in .jsonl, .json, .csv or .parquet")


def read_json(path: Path) -> Any:
    """A whole JSON file."""
    refuse_pickle(path)
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return json.loads(data)
    except (ValueError, RecursionError, EOFError, gzip.BadGzipFile, zlib.error) as exc:
        raise OutcomeError(f"{path}: expected JSON, got a damaged file ({exc})") from exc


def records_of(path: Path, rows: Any, where: str) -> Iterator[Record]:
    """The objects of a list inside a JSON file; their number is the position in it. where: what the list is called."""
    if not isinstance(rows, list):
        raise OutcomeError(f"{path}: expected {where}, got {shown(rows)}")
    for number, row in enumerate(rows, start=1):
        yield record_at(path, number, row, where)


def record_at(path: Path, number: int, row: Any, where: str) -> Record:
    """One object as a record. Raises `OutcomeError` when it is none."""
    if not isinstance(row, dict):
        raise OutcomeError(f"{path}:{number}: expected an object in {where}, got {shown(row)}")
    return Record(path, number, row)


def refuse_pickle(path: Path) -> None:
    """Raises `OutcomeError` for a pickle, with what to do instead."""
    if path.suffix in _PICKLES:
        raise OutcomeError(
            f"{path}: is a pickle, which can run anything when it is loaded, so it is never opened here; "
            "if you trust its source, write it as Parquet yourself: pandas.read_pickle(...).to_parquet(...)"
        )


def _csv_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    csv.field_size_limit(sys.maxsize)  # a prompt may be longer than the 128 KiB that csv expects
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as raw:
        reader = csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8-sig", newline=""), strict=True)
        try:
            for number, row in enumerate(reader, start=1):
                if None in row or None in row.values():
                    raise OutcomeError(
                        f"{path}:{number}: expected {len(reader.fieldnames or ())} fields, got another number"
                    )
                yield row
        except (csv.Error, UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error) as exc:
            raise OutcomeError(f"{path}:{reader.line_num}: expected CSV, got a damaged file ({exc})") from exc


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    from routers.data.parquet import read_columns

    return read_columns(path)
