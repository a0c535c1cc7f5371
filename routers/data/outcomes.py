"""Outcome files: JSON lines, gzipped or not, or Parquet: one query a line with the reward of each expert that was tried.

    for outcome in read_outcomes("train.jsonl.gz"):
        outcome.rewards                           # {'small': 1.0, 'large': 0.5}
    write_outcomes("train.parquet", read_outcomes("train.jsonl.gz"))

A line needs `query` (text, or a list of chat messages) and `rewards`; the other fields of `routers.base.Outcome` are optional.
Files are streamed, never held whole. Not here: Parquet's columns (`routers/data/parquet.py`), the formats of others
(`routers/data/importers/`), and any judgement of what the rewards mean.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from routers.base import Outcome

_FIELDS = tuple(field.name for field in fields(Outcome))
_DEAREST = 1e30
"""Costs beyond this, in any unit, are no costs, and some could not be calculated with."""


class OutcomeError(ValueError):
    """A file that is no outcome file. The text names file, line, field and what was expected."""


def read_outcomes(path: str | Path) -> Iterator[Outcome]:
    """Every line of a `.jsonl` or `.jsonl.gz` file, or row of a `.parquet` file; blank lines are skipped.

    Raises `OutcomeError` at the first that is wrong, with its number (counted from 1).
    """
    path = Path(path)
    numbered, parse = _numbered(path)
    for number, raw in numbered:
        with located(path, number):
            outcome = _outcome(parse(raw))
        yield outcome


def write_outcomes(path: str | Path, outcomes: Iterable[Outcome]) -> int:
    """Write `.jsonl`, `.jsonl.gz` or `.parquet` and return the number of lines. The file appears whole or not at all."""
    path = Path(path)
    with replaced(path) as file:
        if path.suffix == ".parquet":
            from routers.data.parquet import write_rows

            return write_rows(file, map(_row, outcomes))
        return _write_lines(file, map(_row, outcomes))


def _write_lines(file: BufferedIOBase, rows: Iterable[Mapping[str, Any]]) -> int:
    count = 0
    for row in rows:
        line = json.dumps(row, ensure_ascii=False, default=dict) + "\n"
        # A lone surrogate, which UTF-8 can't hold, becomes JSON's escape of it.
        file.write(line.encode("utf-8", "backslashreplace"))
        count += 1
    return count


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, gzipped if its name says so, that are not blank, with their numbers from 1."""
    number = 0
    try:
        with _opened(path) as file:
            for line in file:
                number += 1
                if not line.isspace():
                    yield number, line
    except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
        raise OutcomeError(f"{path}:{number + 1}: expected gzipped lines, got a damaged file ({exc})") from exc


def _numbered(path: Path) -> tuple[Iterator[tuple[int, Any]], Callable[[Any], dict[str, Any]]]:
    """The lines or rows of a file with their numbers, and what makes a field's values by name of one."""
    if path.suffix != ".parquet":
        return read_lines(path), json_object
    from routers.data.parquet import as_row, read_columns

    return enumerate(read_columns(path), start=1), as_row


@contextmanager
def located(path: Path, number: int) -> Iterator[None]:
    """Put file and number before what was found wrong inside the block."""
    try:
        yield
    except Invalid as exc:
        raise OutcomeError(f"{path}:{number}: {exc}") from exc


class Invalid(ValueError):
    """What is wrong with a line, before file and number are known."""


def _opened(path: Path) -> BufferedIOBase:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


@contextmanager
def replaced(path: Path) -> Iterator[BufferedIOBase]:
    """A temporary file beside `path` that takes its place when the block ends well, and is deleted when it doesn't."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as file:
                    yield file
            else:
                yield raw
        temporary.replace(path)
    except BaseException:  # an interrupt leaves no half-written file either
        temporary.unlink(missing_ok=True)
        raise


def _row(outcome: Outcome) -> dict[str, Any]:
    """The two fields that are required, and those that differ from their defaults."""
    optional = {name: getattr(outcome, name) for name in _FIELDS if name not in ("query", "rewards")}
    given = {name: value for name, value in optional.items() if value not in (None, {})}
    if outcome.cost_unit == "usd":
        del given["cost_unit"]
    return {"query": outcome.query, "rewards": outcome.rewards, **given}


def json_object(line: bytes) -> dict[str, Any]:
    """A line as an object. Raises `Invalid` when it is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise Invalid(f"expected a JSON object, got broken JSON ({exc})") from exc
    if not isinstance(row, dict):
        raise Invalid(f"expected a JSON object, got {shown(row)}")
    return row


def _outcome(row: dict[str, Any]) -> Outcome:
    if unknown := row.keys() - set(_FIELDS):
        raise Invalid(f"unknown field '{min(unknown)}', expected one of {', '.join(_FIELDS)}")
    for required in ("query", "rewards"):
        if required not in row:
            raise Invalid(f"the field '{required}' is missing")
    return Outcome(
        query=query_text(row["query"]),
        rewards=_numbers(row, "rewards", 0.0, 1.0),
        id=_text(row, "id"),
        group=_text(row, "group"),
        split=_text(row, "split"),
        costs=_numbers(row, "costs", 0.0, _DEAREST),
        cost_unit=_text(row, "cost_unit") or "usd",
        answers=_answers(row),
        target=_text(row, "target"),
        propensity=_numbers(row, "propensity", 0.0, 1.0),
    )


def query_text(value: Any) -> str:
    """Text, or what chat messages say, in order; tool results and parts that are not text are left out."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value or not all(isinstance(message, dict) for message in value):
        raise Invalid(f"field 'query': expected text or a list of chat messages, got {shown(value)}")
    return "\n\n".join(filter(None, (_content(m.get("content")) for m in value if m.get("role") != "tool")))


def _content(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise Invalid(f"field 'query': expected a message's content as text or a list of parts, got {shown(content)}")
    return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))


def _text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    if value is None or isinstance(value, str):
        return value
    raise Invalid(f"field '{name}': expected text, got {shown(value)}")


def _numbers(row: Mapping[str, Any], name: str, low: float, high: float) -> dict[str, float]:
    """A mapping of expert to number within `low..high`."""
    numbers = {}
    for expert, value in _mapping(row, name).items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:
            raise Invalid(f"field '{name}.{expert}': expected a number from {low:g} to {high:g}, got {shown(value)}")
        numbers[expert] = float(value)
    return numbers


def _answers(row: Mapping[str, Any]) -> dict[str, str | None]:
    answers = _mapping(row, "answers")
    for expert, value in answers.items():
        if value is not None and not isinstance(value, str):
            raise Invalid(f"field 'answers.{expert}': expected text or null, got {shown(value)}")
    return answers


def _mapping(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = row.get(name, {})
    if not isinstance(value, dict):
        raise Invalid(f"field '{name}': expected an object with a value per expert, got {shown(value)}")
    return value


def shown(value: Any) -> str:
    """A value as JSON, cut short."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
