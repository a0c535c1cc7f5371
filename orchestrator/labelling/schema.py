"""The reward `json_schema`: the answer is one JSON value that the query's `schema` accepts.

    {"query": "Ada is 36. As JSON with name and age.", "schema": {"type": "object", "required": ["name", "age"]}}

A code fence around the JSON is no fault; anything else beside it is, and so is NaN. References to other documents are not followed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from orchestrator.errors import MissingExtra
from orchestrator.labelling.base import Tools
from orchestrator.labelling.queries import Item

_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*)\n\s*```\s*", re.DOTALL)


async def make(argument: str, tools: Tools) -> JsonSchemaGrader:
    try:
        import jsonschema  # noqa: F401
    except ImportError as exc:
        raise MissingExtra("the reward 'json_schema'", "train") from exc
    return JsonSchemaGrader()


class JsonSchemaGrader:
    judged = False

    def check(self, item: Item) -> None:
        from jsonschema.exceptions import SchemaError

        if item.schema is None:
            raise ValueError("the reward 'json_schema' needs the field 'schema'")
        try:
            _validator(item.schema).check_schema(item.schema)
        except SchemaError as exc:
            raise ValueError(f"field 'schema': {exc.message}") from exc

    async def grade(self, item: Item, answers: Mapping[str, str | None]) -> dict[str, float]:
        validator = _validator(item.schema)
        return {expert: float(_is_valid(validator, text or "")) for expert, text in answers.items()}


def _validator(schema: Any) -> Any:
    """Draft 2020-12, unless the schema names another."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for
    from referencing import Registry

    return validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())


def _is_valid(validator: Any, text: str) -> bool:
    from referencing.exceptions import Unresolvable

    fenced = _FENCED.fullmatch(text)
    try:
        value = json.loads(fenced[1] if fenced else text, parse_constant=_refuse)
        return bool(validator.is_valid(value))
    except (ValueError, RecursionError, Unresolvable):
        return False


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
