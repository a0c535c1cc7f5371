"""Whether an answer can be used at all, by cheap checks that know nothing of the subject.

    why_unusable("I'm sorry, but I can't help with that.")                      # 'it refuses'
    why_unusable('{"a": 1', body={"response_format": {"type": "json_object"}})  # 'it is cut off'
    why_unusable("42")                                                          # None: it can be used

Asking another expert when the first one's answer is of no use is worth more than most routing. The checks are precise rather than
complete: what they reject is of no use, and a wrong answer passes. In a schema, `pattern`s are not tried: they could take for ever.
Not here: who is asked next.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from orchestrator.aggregators.base import MemberAnswer
from orchestrator.aggregators.reading.choices import read_choices
from orchestrator.aggregators.reading.refusals import refuses
from orchestrator.experts.inputs import last_user_text
from orchestrator.labelling.choice import picked
from orchestrator.labelling.quoting import without_thinking
from routers.data.answers import MAX_SHORT_WORDS

_FENCE = re.compile(r"^ {0,3}(```+|~~~+)(.*)$", re.MULTILINE)
_WHOLE_FENCE = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL)


def why_unusable(text: str, *, finish_reason: str | None = None, body: Mapping[str, Any] | None = None) -> str | None:
    """Why `text` is no answer, or None if it may be one. body: the client's, for what it asks of an answer.

    finish_reason: the expert's own. What an expert thinks before it answers (`<think>`) is no part of the answer.
    """
    said = without_thinking(text).strip()
    if not said:
        return "it is cut off" if finish_reason == "length" else "it is empty"
    body = body or {}
    picks = _picks(said, body)
    if picks and (finish_reason != "length" or len(said.split()) <= MAX_SHORT_WORDS):
        return None
    if finish_reason == "length" or _is_cut_off(said):
        return "it is cut off"
    if finish_reason == "content_filter" or refuses(said):
        return "it refuses"
    if fault := _json_fault(said, body.get("response_format")):
        return fault
    return "it picks none of the options" if picks is False else None


def is_of_use(answer: MemberAnswer, body: Mapping[str, Any] | None = None) -> bool:
    """Whether an expert has given an answer that can be used."""
    return answer.usable and why_unusable(answer.text, finish_reason=answer.finish_reason, body=body) is None


def _picks(said: str, body: Mapping[str, Any]) -> bool | None:
    """Whether one of the question's options is picked; None where it has none, or the answer is to have a form of its own."""
    if body.get("response_format") or body.get("tools"):
        return None
    prompt = body.get("prompt")
    question = read_choices(prompt if isinstance(prompt, str) else last_user_text(body))
    return None if question is None else picked(said, question.options) is not None


def _is_cut_off(said: str) -> bool:
    """Whether code or JSON begins that doesn't end."""
    opened: str | None = None
    for fence in _FENCE.finditer(said) if "```" in said or "~~~" in said else ():
        marks, label = fence.groups()
        if opened is None:
            opened = marks
        elif marks.startswith(opened) and not label.strip():
            opened = None
    if opened is not None:
        return True
    if said[0] not in "{[":
        return False
    try:
        json.JSONDecoder().raw_decode(said)
    except json.JSONDecodeError as exc:
        return exc.pos >= len(said) - 1 or exc.msg.startswith("Unterminated string")
    except RecursionError:
        return False
    return False


def _json_fault(said: str, wanted: Any) -> str | None:
    """What is wrong with a text that was to be JSON, by OpenAI's `response_format`."""
    kind = wanted.get("type") if isinstance(wanted, Mapping) else None
    if kind not in ("json_object", "json_schema"):
        return None
    fenced = _WHOLE_FENCE.fullmatch(said)
    try:
        value = json.loads(fenced[1] if fenced else said)
    except (ValueError, RecursionError):
        return "it is not JSON"
    if kind == "json_object":
        return None if isinstance(value, dict) else "it is not a JSON object"
    schema = (wanted.get("json_schema") or {}).get("schema")
    return None if schema is None or _fits(value, schema) else "it does not fit the schema"


def _fits(value: Any, schema: Any) -> bool:
    """Whether a JSON value fits; anything fits a schema that is wrong, or that would have patterns tried."""
    from referencing.exceptions import Unresolvable

    validator = _validator(json.dumps(schema))
    try:
        return validator is None or bool(validator.is_valid(value))
    except (Unresolvable, RecursionError):
        return True


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    """Of a schema as JSON, Draft 2020-12 unless it names another, without references elsewhere; None where it is no schema."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import extend, validator_for
    from referencing import Registry

    if '"patternProperties"' in schema:
        return None
    rules = json.loads(schema)
    draft = validator_for(rules, default=Draft202012Validator)
    try:
        draft.check_schema(rules)
    except SchemaError:
        return None
    return extend(draft, {"pattern": _untried})(rules, registry=Registry())


def _untried(validator: Any, pattern: str, value: Any, schema: Any) -> tuple[()]:
    """The keyword `pattern`, which finds no fault."""
    return ()
