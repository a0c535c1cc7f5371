"""Queries to be labelled: JSON lines, gzipped or not, much like outcome lines before there are outcomes.

    {"query": "What is 17 * 23?", "target": "391"}
    {"query": "Which is a fruit?", "choices": ["brick", "pear"], "target": "B", "group": "easy", "id": "q2"}
    {"query": [{"role": "system", "content": "Code."}, {"role": "user", "content": "f doubles"}], "tests": ["assert f(2) == 4"]}

    for item in read_items(Path("Q.jsonl")): ...

`query` is text or chat messages. `choices` are appended to a text that doesn't hold them yet. `schema` is for `json_schema`,
`tests` for `code`: Python that must run after the answer's, or `{"input": ..., "output": ...}` of the program that it is. A number
as `target` is taken as text. Outcome files can be read too; their rewards, costs and answers are not.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from orchestrator.errors import LabelError, RequestError
from orchestrator.experts.inputs import conversation_text
from orchestrator.gateway.requests import make_query

_READ = ("query", "id", "group", "split", "target", "choices", "schema", "tests")
_OF_OUTCOMES = ("rewards", "costs", "cost_unit", "answers", "propensity")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class InOut:
    """What a program must print when it reads `input`."""

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Item:
    """One query. messages: what experts are asked; query: the same as text, which routers learn from. line: in its file."""

    query: str
    messages: tuple[Mapping[str, Any], ...]
    id: str | None = None
    group: str | None = None
    split: str | None = None
    target: str | None = None
    choices: tuple[str, ...] = ()
    schema: Mapping[str, Any] | bool | None = None
    tests: tuple[str | InOut, ...] = ()
    line: int = 0


def read_items(path: Path) -> Iterator[Item]:
    """Every line's query; blank lines are skipped. Raises `LabelError` that names file, line, field and what was expected."""
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for line in file:
                number += 1
                if not line.isspace():
                    yield _item(_row(line), number)
    except (EOFError, zlib.error, OSError) as exc:
        raise LabelError(f"{path}: can't be read: {getattr(exc, 'strerror', None) or exc}") from exc
    except (ValueError, RecursionError) as exc:
        raise LabelError(f"{path}:{number}: {exc}") from exc


def _row(line: bytes) -> dict[str, Any]:
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError(f"expected a JSON object, got {_shown(row)}")  # noqa: TRY004 (a line is wrong, not a call)
    if _SURROGATE.search(json.dumps(row, ensure_ascii=False)):
        raise ValueError("expected text that UTF-8 can hold, got half of a surrogate pair")
    if unknown := row.keys() - {*_READ, *_OF_OUTCOMES}:
        raise ValueError(f"unknown field '{min(unknown)}', expected one of {', '.join(_READ)}")
    return row


def _item(row: Mapping[str, Any], number: int) -> Item:
    choices = _choices(row.get("choices"))
    messages = _messages(row.get("query"), choices)
    return Item(
        query=conversation_text({"messages": messages}),
        messages=messages,
        id=_text(row, "id"),
        group=_text(row, "group"),
        split=_text(row, "split"),
        target=_text(row, "target"),
        choices=choices,
        schema=_schema(row.get("schema")),
        tests=_tests(row.get("tests")),
        line=number,
    )


def _messages(query: Any, choices: tuple[str, ...]) -> tuple[Mapping[str, Any], ...]:
    """What is asked, checked as the gateway checks it."""
    if isinstance(query, str) and query.strip():
        return ({"role": "user", "content": _with_choices(query, choices)},)
    if not isinstance(query, list) or not query:
        raise ValueError(f"field 'query': expected text or a list of chat messages, got {_shown(query)}")
    try:
        make_query("chat", {"model": "auto", "messages": query}, received_at=0.0, timeout_s=0.0)
    except RequestError as exc:
        raise ValueError(f"field 'query': {exc.message}") from exc
    return tuple(query)


def _with_choices(query: str, choices: tuple[str, ...]) -> str:
    if all(choice in query for choice in choices):
        return query
    lines = (f"{letter}. {choice}" for letter, choice in zip(ascii_uppercase, choices, strict=False))
    return "\n".join((query, *lines))


def _choices(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if (
        not isinstance(value, list)
        or not all(isinstance(choice, str) for choice in value)
        or not 2 <= len(value) <= len(ascii_uppercase)
    ):
        raise ValueError(f"field 'choices': expected a list of 2 to 26 texts, got {_shown(value)}")
    return tuple(value)


def _schema(value: Any) -> Mapping[str, Any] | bool | None:
    if value is None or isinstance(value, dict | bool):
        return value
    raise ValueError(f"field 'schema': expected a JSON Schema, got {_shown(value)}")


def _tests(value: Any) -> tuple[str | InOut, ...]:
    if value is None:
        return ()
    if isinstance(value, list) and value:
        return tuple(_test(test) for test in value)
    return (_test(value),)


def _test(value: Any) -> str | InOut:
    if isinstance(value, str):
        return value
    if (
        isinstance(value, dict)
        and value.keys() == {"input", "output"}
        and all(isinstance(v, str) for v in value.values())
    ):
        return InOut(**value)
    raise ValueError(f"""field 'tests': expected Python, or {{"input": text, "output": text}}, got {_shown(value)}""")


def _text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"field '{name}': expected text, got {_shown(value)}")


def _shown(value: Any) -> str:
    """A value as JSON, cut short."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
