"""The reward `json_schema`: the answer is one JSON value that the query's `schema` accepts.

    {"query": "Ada is 36. As JSON with name and age.", "schema": {"type": "object", "required": ["name", "age"]}}

A code fence around the JSON is no fault; anything else beside it is, and so is NaN. References to other documents are not followed.
A `pattern` that is still searching after a second has found nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.errors import MissingExtra
from orchestrator.labelling.base import Tools
from orchestrator.labelling.pattern import found
from orchestrator.labelling.queries import Item

_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*)\n\s*```\s*", re.DOTALL)


async def make(argument: str, tools: Tools) -> JsonSchemaGrader:
    try:
        import jsonschema  # noqa: F401
        import regex  # noqa: F401
    except ImportError as exc:
        raise MissingExtra("the reward 'json_schema'", "train") from exc
    return JsonSchemaGrader()


class JsonSchemaGrader:
    judged = False

    def check(self, item: Item) -> None:
        from jsonschema.exceptions import SchemaError

        if item.schema is None:
            raise ValueError("the reward 'json_schema' needs the field 'schema'")
        if isinstance(item.schema, Mapping) and not isinstance(item.schema.get("$schema", ""), str):
            raise ValueError("field 'schema': expected text as '$schema'")  # noqa: TRY004 (a line is wrong, not a call)
        try:
            _validator(item.schema).check_schema(item.schema)
        except SchemaError as exc:
            raise ValueError(f"field 'schema': {exc.message}") from exc

    async def grade(self, item: Item, answers: Mapping[str, str | None]) -> dict[str, float]:
        validator = _validator(item.schema)
        return {
            expert: float(await asyncio.to_thread(_is_valid, validator, text or "")) for expert, text in answers.items()
        }


def _validator(schema: Any) -> Any:
    """Draft 2020-12, unless the schema names another."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend, validator_for
    from referencing import Registry

    draft = validator_for(schema, default=Draft202012Validator)
    return extend(draft, {"pattern": _pattern})(schema, registry=Registry())


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[Any]:
    """The keyword `pattern`, which in jsonschema may search for ever."""
    import regex
    from jsonschema.exceptions import ValidationError

    if validator.is_type(value, "string") and not found(regex.compile(pattern), value):
        yield ValidationError(f"no match for {pattern}")


def _is_valid(validator: Any, text: str) -> bool:
    import regex
    from referencing.exceptions import Unresolvable

    fenced = _FENCED.fullmatch(text)
    try:
        value = json.loads(fenced[1] if fenced else text, parse_constant=_refuse)
        return bool(validator.is_valid(value))
    except (ValueError, OverflowError, RecursionError, Unresolvable, regex.error):
        return False


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
