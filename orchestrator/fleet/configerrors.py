"""What is wrong with a configuration, in its author's words: pydantic's errors turned into problems with a place.

    problems = schema_problems(validation_error)
    str(problems[0])        # "experts[1].price.input: got 'cheap', expected a number >= 0"

What was expected is read from the JSON Schema at the place of the error, so there is no second list of rules. The file's lines
are added by `orchestrator/fleet/configfile.py`. Values under keys that may hold secrets are never repeated.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from orchestrator.config import Config

Loc = tuple[str | int, ...]
Schema = dict[str, Any]

_SECRET_KEYS = frozenset({"api_key_env", "headers", "env"})
_LIMITS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_WORDS = {"number": "a number", "integer": "a whole number", "boolean": "true or false", "string": "text"}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and the keys and indices that lead to it."""

    loc: Loc
    text: str

    def __str__(self) -> str:
        """One line, whatever stands in the file."""
        line = f"{dotted(self.loc)}: {self.text}" if self.loc else self.text
        return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an error lies. `loc` is without union labels; `union` is the loc of the union that it is a branch of."""

    error: ErrorDetails
    loc: Loc
    schema: Schema
    parent: Schema
    union: Loc | None
    label: str

    @property
    def is_other_type(self) -> bool:
        return self.loc == self.union and self.error["type"] != "value_error"


def dotted(loc: Loc) -> str:
    """`("experts", 1, "price")` -> `experts[1].price`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in loc).removeprefix(".")


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` for the known word most like `word`, else all of them."""
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=1)
    return f"did you mean '{close[0]}'?" if close else f"expected one of {', '.join(words)}"


def got(loc: Loc, value: object) -> str:
    """`got 'cheap'`, in YAML's notation, short, and without what may be secret."""
    if _SECRET_KEYS.intersection(loc):
        return "got another value"
    if isinstance(value, dict | list):
        return f"got {'a' if value else 'an empty'} {'mapping' if isinstance(value, dict) else 'list'}"
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value, default=str)
    return f"got {text}" if len(text) <= 80 else f"got {text[:77]}..."


def describe(schema: Schema) -> str:
    """What a schema accepts, in words: `a number >= 0`, `a list`, `a mapping with pypi, file, sha256`."""
    schema = _resolved(schema)
    if members := schema.get("anyOf"):
        return " or ".join(describe(member) for member in members)
    if "const" in schema or "enum" in schema:
        values = schema.get("enum") or [schema["const"]]
        return ("one of " if len(values) > 1 else "") + ", ".join(
            json.dumps(value).replace('"', "'") for value in values
        )
    kind = schema.get("type")
    if kind == "array":
        return "a list that isn't empty" if schema.get("minItems") else "a list"
    if kind == "object" or "discriminator" in schema:
        keys = schema.get("required") or schema.get("properties", ())
        return "a mapping" + (f" with {', '.join(keys)}" if keys else "")
    if schema.get("format") == "path":
        return "a path"
    limits = " and".join(f" {sign} {schema[limit]}" for limit, sign in _LIMITS.items() if limit in schema)
    return _WORDS.get(str(kind), "a value") + limits + (f" matching {schema['pattern']}" if "pattern" in schema else "")


@cache
def json_schema() -> Schema:
    """The JSON Schema of `experts.yaml`, for editors: `# yaml-language-server: $schema=experts.schema.json`."""
    draft = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": draft, **Config.model_json_schema(), "title": "experts.yaml"}


def schema_problems(error: ValidationError) -> list[Problem]:
    """Every problem once. Of a union, only the branch that was meant speaks."""
    places = [_place(details) for details in error.errors(include_url=False)]
    return [_problem(place) for place in _meant(places) if not _follows(place, places)]


def _meant(places: list[_Place]) -> Iterator[_Place]:
    unions: dict[Loc, dict[str, list[_Place]]] = {}
    for place in places:
        if place.union is not None:
            unions.setdefault(place.union, {}).setdefault(place.label, []).append(place)
    for place in places:
        if place.union is None:
            yield place
        elif (branches := unions.pop(place.union, None)) is not None:
            yield from min(branches.values(), key=lambda branch: (branch[0].is_other_type, len(branch)))


def _follows(place: _Place, places: list[_Place]) -> bool:
    """Whether a list is too short only because its items have problems of their own."""
    depth = len(place.loc)
    return place.error["type"] == "too_short" and any(p.loc[:depth] == place.loc and len(p.loc) > depth for p in places)


def _place(error: ErrorDetails) -> _Place:
    schema = parent = whole = json_schema()
    loc: Loc = ()
    union: Loc | None = None
    label = ""
    for key in error["loc"]:
        if "discriminator" in schema:
            schema = _resolved({"$ref": schema["discriminator"]["mapping"][key]})
        elif "anyOf" in schema:
            union, label, whole = loc, str(key), schema
            schema = _branch(schema, label)
        elif key == "[key]":
            schema = {"type": "string", "pattern": next(iter(parent["patternProperties"]))}
        else:
            loc, parent = (*loc, key), schema
            schema = _resolved(_child(schema, key))
    return _Place(error, loc, whole if loc == union else schema, parent, union, label)


def _resolved(schema: Schema) -> Schema:
    """The schema behind a `$ref`, and behind `X | None`, which pydantic's locations don't mention."""
    if "$ref" in schema:
        return _resolved(json_schema()["$defs"][schema["$ref"].rpartition("/")[2]])
    members = [member for member in schema.get("anyOf", ()) if member.get("type") != "null"]
    return _resolved(members[0]) if len(members) == 1 else schema


def _child(schema: Schema, key: str | int) -> Schema:
    if isinstance(key, int):
        return dict(schema.get("items", {}))
    values = schema.get("patternProperties", {"": schema.get("additionalProperties")})
    child = schema.get("properties", {}).get(key) or next(iter(values.values()))
    return child if isinstance(child, dict) else {}


def _branch(schema: Schema, label: str) -> Schema:
    """The member of a union that pydantic calls `label`: `str`, `tuple[...]`, a model's name, or `function-after[..., name]`."""
    words = re.findall(r"\w+", label)
    name = {"str": "string", "tuple": "array"}.get(words[0], f"#/$defs/{words[-1]}")
    return next((_resolved(m) for m in schema["anyOf"] if name in (m.get("type"), m.get("$ref"))), {})


def _backends_with(loc: Loc) -> Iterator[str]:
    """The backends whose experts may have the key at `loc`."""
    if loc[0] != "experts" or len(loc) < 3:
        return
    for backend, reference in json_schema()["properties"]["experts"]["items"]["discriminator"]["mapping"].items():
        schema = _resolved({"$ref": reference})
        for key in loc[2:-1]:
            schema = _resolved(_child(schema, key))
        if loc[-1] in schema.get("properties", ()):
            yield backend


def _problem(place: _Place) -> Problem:
    error, loc = place.error, place.loc
    match error["type"]:
        case "missing":
            return Problem(loc, f"missing, expected {describe(place.schema)}")
        case "extra_forbidden":
            known = nearest(str(loc[-1]), place.parent["properties"])
            others = ", ".join(_backends_with(loc))
            return Problem(loc, f"only for backend {others}; {known}" if others else f"unknown key, {known}")
        case "union_tag_not_found":
            return Problem((*loc, "backend"), f"missing, {nearest('', place.schema['discriminator']['mapping'])}")
        case "union_tag_invalid":
            backend = error["input"]["backend"]
            known = nearest(str(backend), place.schema["discriminator"]["mapping"])
            return Problem((*loc, "backend"), f"{got(loc, backend)}, {known}")
        case "value_error":
            return Problem(loc, error["msg"].removeprefix("Value error, "))
        case "invalid_key":
            return Problem(loc, "expected a key that is text; put it in quotes")
    return Problem(loc, f"{got(loc, error['input'])}, expected {describe(place.schema)}")
