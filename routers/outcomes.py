"""Outcome files: JSON lines, gzipped or not, one query a line with the reward of each expert that was tried.

    for outcome in read_outcomes("train.jsonl.gz"):
        outcome.rewards                           # {'small': 1.0, 'large': 0.5}
    write_outcomes("copy.jsonl", read_outcomes("train.jsonl.gz"))

A line needs `query` (text, or a list of chat messages) and `rewards`; the other fields of `routers.base.Outcome` are optional.
Files are streamed, never held whole. Not here: other formats, and any judgement of what the rewards mean.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import IO, Any

from routers.base import Outcome

_FIELDS = tuple(field.name for field in fields(Outcome))


class OutcomeError(ValueError):
    """A file that is no outcome file. The text names file, line, field and what was expected."""


def read_outcomes(path: str | Path) -> Iterator[Outcome]:
    """Every line of a `.jsonl` or `.jsonl.gz` file. Raises `OutcomeError` at the first that is wrong; blank ones are skipped."""
    path = Path(path)
    number = 0
    try:
        with _opened(path) as file:
            for line in file:
                number += 1
                if not line.isspace():
                    yield _outcome(line)
    except _Invalid as exc:
        raise OutcomeError(f"{path}:{number}: {exc}") from exc
    except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
        raise OutcomeError(f"{path}:{number + 1}: expected gzipped lines, got a damaged file ({exc})") from exc


def write_outcomes(path: str | Path, outcomes: Iterable[Outcome]) -> int:
    """Write `.jsonl` or `.jsonl.gz` and return the number of lines. The file appears whole or not at all."""
    path = Path(path)
    count = 0
    with _replaced(path) as file:
        for outcome in outcomes:
            line = json.dumps(_row(outcome), ensure_ascii=False, default=dict) + "\n"
            # A lone surrogate, which UTF-8 can't hold, becomes JSON's escape of it.
            file.write(line.encode("utf-8", "backslashreplace"))
            count += 1
    return count


class _Invalid(ValueError):
    """What is wrong with a line, before file and number are known."""


def _opened(path: Path) -> IO[bytes] | gzip.GzipFile:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


@contextmanager
def _replaced(path: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
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


def _outcome(line: bytes) -> Outcome:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise _Invalid(f"expected a JSON object, got broken JSON ({exc})") from exc
    if not isinstance(row, dict):
        raise _Invalid(f"expected a JSON object, got {_shown(row)}")
    if unknown := row.keys() - set(_FIELDS):
        raise _Invalid(f"unknown field '{min(unknown)}', expected one of {', '.join(_FIELDS)}")
    for required in ("query", "rewards"):
        if required not in row:
            raise _Invalid(f"the field '{required}' is missing")
    return Outcome(
        query=_query(row["query"]),
        rewards=_numbers(row, "rewards", 0.0, 1.0),
        id=_text(row, "id"),
        group=_text(row, "group"),
        split=_text(row, "split"),
        costs=_numbers(row, "costs", 0.0, float("inf")),
        cost_unit=_text(row, "cost_unit") or "usd",
        answers=_answers(row),
        target=_text(row, "target"),
        propensity=_numbers(row, "propensity", 0.0, 1.0),
    )


def _query(value: Any) -> str:
    """Text, or what chat messages say, in order; tool results and parts that are not text are left out."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value or not all(isinstance(message, dict) for message in value):
        raise _Invalid(f"field 'query': expected text or a list of chat messages, got {_shown(value)}")
    return "\n\n".join(filter(None, (_content(m.get("content")) for m in value if m.get("role") != "tool")))


def _content(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise _Invalid(f"field 'query': expected a message's content as text or a list of parts, got {_shown(content)}")
    return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))


def _text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    if value is None or isinstance(value, str):
        return value
    raise _Invalid(f"field '{name}': expected text, got {_shown(value)}")


def _numbers(row: Mapping[str, Any], name: str, low: float, high: float) -> dict[str, float]:
    """A mapping of expert to finite number within `low..high`."""
    numbers = {}
    for expert, value in _mapping(row, name).items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high or value == float("inf"):
            wanted = f"a number from {low:g} to {high:g}" if high < float("inf") else f"a number of at least {low:g}"
            raise _Invalid(f"field '{name}.{expert}': expected {wanted}, got {_shown(value)}")
        numbers[expert] = float(value)
    return numbers


def _answers(row: Mapping[str, Any]) -> dict[str, str | None]:
    answers = _mapping(row, "answers")
    for expert, value in answers.items():
        if value is not None and not isinstance(value, str):
            raise _Invalid(f"field 'answers.{expert}': expected text or null, got {_shown(value)}")
    return answers


def _mapping(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = row.get(name, {})
    if not isinstance(value, dict):
        raise _Invalid(f"field '{name}': expected an object with a value per expert, got {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    """A value as JSON, cut short."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
