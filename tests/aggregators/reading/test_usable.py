"""Whether an answer can be used at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.aggregators.reading.usable import why_unusable

PERSON = {
    "type": "object",
    "properties": {"age": {"type": "integer"}},
    "required": ["age"],
    "additionalProperties": False,
}
MENU = "Which is a fruit?\nA. brick\nB. pear\nC. car"
texts = st.text()
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def body(question: str = "", *, schema: Any = None, form: str | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"messages": [{"role": "user", "content": question}]}
    if form is not None:
        made["response_format"] = {"type": form}
        if form == "json_schema":
            made["response_format"]["json_schema"] = {"name": "x", "schema": schema}
    return made


@pytest.mark.parametrize(
    "text", ["42", "No.", "It is empty [sic", "{x | x > 0}", "```\na\n```", "[1] See below.", "拒绝"]
)
def test_an_answer_can_be_used(text: str):
    assert why_unusable(text, finish_reason="stop", body=body("What is it?")) is None


@pytest.mark.parametrize("text", ["", " \n", "<think>Hm.</think>", "<think>Hm."])
def test_nothing_but_thoughts_is_empty(text: str):
    assert why_unusable(text) == "it is empty"


@pytest.mark.parametrize(
    "text",
    [
        "Sure:\n```python\nprint(",
        "````\n```\nx",
        "~~~\nx",
        '{"a": 1',
        '{"a": "lon',
        '[{"a": [1, 2',
        '{"a":',
        "[1,\n 2,",
    ],
)
def test_code_and_json_that_do_not_end_are_cut_off(text: str):
    assert why_unusable(text) == "it is cut off"


def test_what_ran_into_its_length_is_cut_off():
    assert why_unusable("It is", finish_reason="length") == "it is cut off"
    assert why_unusable("<think>Hm", finish_reason="length") == "it is cut off"


def test_a_single_letter_is_whole_whatever_its_length_was_to_be():
    assert why_unusable("B", finish_reason="length", body=body(MENU)) is None
    thought = "Let me look at option A first. It is a brick, and a brick is"
    assert why_unusable(thought, finish_reason="length", body=body(MENU)) == "it is cut off"


def test_what_was_filtered_is_a_refusal():
    assert why_unusable("Well", finish_reason="content_filter") == "it refuses"


def test_an_object_that_was_asked_for_must_be_one():
    asked = body(form="json_object")
    assert why_unusable('```json\n{"a": 1}\n```', body=asked) is None
    assert why_unusable("[1]", body=asked) == "it is not a JSON object"
    assert why_unusable("a is 1", body=asked) == "it is not JSON"


def test_a_schema_that_was_asked_for_must_be_kept():
    asked = body(form="json_schema", schema=PERSON)
    assert why_unusable('{"age": 36}', body=asked) is None
    assert why_unusable('{"age": "old"}', body=asked) == "it does not fit the schema"
    assert why_unusable('{"age": 36, "name": "Ada"}', body=asked) == "it does not fit the schema"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": 5},
        {"$ref": "https://elsewhere.example/schema.json"},
        {"$ref": "#"},
        {"pattern": "(a+)+$"},
        {"patternProperties": {"(a+)+$": {"type": "integer"}}, "additionalProperties": False},
    ],
)
def test_a_schema_that_cannot_be_tried_finds_no_fault(schema: Any):
    assert (
        why_unusable(
            '{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!": 1}', body=body(form="json_schema", schema=schema)
        )
        is None
    )


@pytest.mark.parametrize("text", ["I think both A and B.", "Hard to say.", "None of these letters."])
def test_a_choice_that_was_asked_for_must_be_made(text: str):
    assert why_unusable(text, body=body(MENU)) == "it picks none of the options"
    assert why_unusable(text, body={"prompt": MENU}) == "it picks none of the options"


@pytest.mark.parametrize("text", ["B", "(b)", "The answer is **B**.", "pear", "It must be the pear.", "B. pear"])
def test_a_choice_that_is_made_can_be_used(text: str):
    assert why_unusable(text, body=body(MENU)) is None


def test_a_letter_is_not_missed_where_json_was_asked_for():
    assert why_unusable('{"answer": 2}', body=body(MENU, form="json_object")) is None


@given(text=texts, finish_reason=st.sampled_from([None, "stop", "length", "tool_calls"]), question=texts)
def test_whatever_is_said_gets_a_verdict(text: str, finish_reason: str | None, question: str):
    verdict = why_unusable(text, finish_reason=finish_reason, body=body(question))
    assert verdict is None or verdict.startswith("it ")


@given(value=json_values)
def test_whole_json_is_not_cut_off(value: Any):
    said = json.dumps(value)
    assert why_unusable(said) is None
    assert (why_unusable(said, body=body(form="json_object")) is None) == isinstance(value, dict)


@given(value=st.lists(st.integers(), min_size=1) | st.dictionaries(st.text(), st.text(), min_size=1), data=st.data())
def test_a_part_of_json_is_never_json(value: Any, data: st.DataObject):
    whole = json.dumps(value)
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    assert why_unusable(part, body=body(form="json_object")) is not None
