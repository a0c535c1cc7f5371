"""Rewards that compare texts: exact, numeric, choice, contains, regex and json_schema, on answers as models write them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.labelling.base import Tools
from orchestrator.labelling.choice import picked
from orchestrator.labelling.numeric import concluding_number, last_number
from orchestrator.labelling.registry import make_grader
from tests.support.asks import FakeAsks, item


async def reward(name, answer, **fields):
    grader = await make_grader(name, Tools(FakeAsks()))
    query = item(**fields)
    grader.check(query)
    return (await grader.grade(query, {"a": answer}))["a"]


@pytest.mark.parametrize(
    "answer", ["Lima", "lima.", "The answer is **Lima**.", "I think so.\n\n\\boxed{Lima}", "the Lima"]
)
async def test_exact_reads_the_conclusion(answer):
    assert await reward("exact", answer, target="Lima") == 1.0


@pytest.mark.parametrize("answer", ["Lima or Quito", "Limassol", "Not Lima", "The answer is Quito, not Lima."])
async def test_exact_takes_nothing_beside_the_target(answer):
    assert await reward("exact", answer, target="Lima") == 0.0


async def test_exact_tells_signs_apart():
    assert await reward("exact", " + ", target="+") == 1.0
    assert await reward("exact", "-", target="+") == 0.0


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("17 * 23 = 391", 391),
        ("So 12 apples. The answer is 1,234.50 dollars.", 1234.5),
        ("#### -7", -7),
        ("about 3/4", 0.75),
        ("x = 2e3", 2000),
        ("\\boxed{42} is what 7 gives", 42),
        ("it costs $1,000", 1000),
        ("15%", 15),
        ("−3", -3),
        ("٣", 3),
        (".5", 0.5),
        ("The answer is that it grows. 8", 8),
        ("v1.2.3", None),
        ("no number", None),
        ("1/0", 0),
        ("9" * 400, None),
    ],
)
def test_the_number_that_a_text_ends_in(text, number):
    assert concluding_number(text) == number


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15))
def test_a_number_is_read_as_python_writes_it(number):
    assert last_number(f"it is {number!r} now") == number


@given(st.text(max_size=200))
def test_no_text_breaks_the_reading_of_numbers_and_letters(text):
    concluding_number(text)
    assert picked(text) is None or picked(text).isalpha()


async def test_numeric_allows_rounding_errors_and_nothing_more():
    assert await reward("numeric", "0.333333333", target="1/3") == 1.0
    assert await reward("numeric", "0.33", target="1/3") == 0.0


async def test_numeric_counts_one_number_of_an_answer_that_lists_many():
    assert await reward("numeric", "1, 2, 3, 4, 5", target="3") == 0.0


async def test_a_target_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="expected a number, got 'four'"):
        await reward("numeric", "4", target="four")


@pytest.mark.parametrize(
    "answer",
    [
        "B",
        "b",
        "(B)",
        "B.",
        "**B) pear**",
        "Answer: B",
        "The correct answer is option (B).",
        "pear",
        "It is a pear.",
        "B. A brick is for building, and the others are tools that nobody would ever want to eat at all.",
        "Of all of these I would certainly pick option B because one can eat it and none of the other things.",
    ],
)
async def test_choice_reads_the_letter_or_the_text(answer):
    assert await reward("choice", answer, choices=("brick", "pear", "saw"), target="B") == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        "A",
        "A and B",
        "B or C",
        "brick, pear",
        "D",
        "none of them",
        "I can say that option A or option B might be it, who knows",
    ],
)
async def test_an_answer_that_picks_another_or_two_earns_nothing(answer):
    assert await reward("choice", answer, choices=("brick", "pear", "saw"), target="B") == 0.0


async def test_a_target_may_be_the_text_of_a_choice():
    assert await reward("choice", "(B)", choices=("3", "4"), target="4") == 1.0
    with pytest.raises(ValueError, match="expected a letter or one of the choices, got 'E'"):
        await reward("choice", "B", choices=("3", "4"), target="E")


async def test_contains_wants_whole_words_in_order():
    assert await reward("contains", "It was J. W. von GOETHE!", target="von Goethe") == 1.0
    assert await reward("contains", "to concatenate", target="cat") == 0.0
    assert await reward("contains", "Goethe, von", target="von Goethe") == 0.0


async def test_a_target_without_words_is_refused():
    with pytest.raises(ValueError, match="expected words"):
        await reward("contains", "?", target="?!")


async def test_regex_searches_anywhere():
    assert await reward("regex", "Born on 1815-12-10.", target=r"\b\d{4}-\d{2}-\d{2}\b") == 1.0
    assert await reward("regex", "Born in 1815.", target=r"\b\d{4}-\d{2}-\d{2}\b") == 0.0


async def test_a_pattern_that_would_search_forever_finds_nothing():
    began = time.monotonic()
    assert await reward("regex", "a" * 5000 + "!", target=r"^(a|a)*(a|a)*(a|a)*b$") == 0.0
    assert time.monotonic() - began < 5


async def test_a_broken_pattern_is_refused():
    with pytest.raises(ValueError, match=r"expected a regular expression, got '\('"):
        await reward("regex", "x", target="(")


SCHEMA = {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer"}}}


@pytest.mark.parametrize("answer", ['{"age": 36}', '```json\n{"age": 36}\n```', ' {"age": 36, "name": "Ada"}\n'])
async def test_json_that_the_schema_accepts(answer):
    assert await reward("json_schema", answer, schema=SCHEMA) == 1.0


@pytest.mark.parametrize(
    "answer", ['{"age": "36"}', 'Here: {"age": 36}', '{"age": 36', "{}", '{"age": NaN}', '{"age": 36} {"age": 36}']
)
async def test_json_that_it_refuses(answer):
    assert await reward("json_schema", answer, schema=SCHEMA) == 0.0


async def test_a_schema_elsewhere_is_not_fetched():
    assert await reward("json_schema", "4", schema={"$ref": "http://127.0.0.1:9/schema.json"}) == 0.0


async def test_a_broken_schema_is_refused():
    with pytest.raises(ValueError, match="field 'schema': 'strnig' is not valid"):
        await reward("json_schema", "4", schema={"type": "strnig"})
    with pytest.raises(ValueError, match="field 'schema': expected text as"):
        await reward("json_schema", "4", schema={"$schema": []})


async def test_a_number_beyond_floats_is_a_wrong_answer():
    assert await reward("json_schema", "1e400", schema={"multipleOf": 0.1}) == 0.0


async def test_a_schema_whose_pattern_never_ends_is_given_up():
    began = time.monotonic()
    assert await reward("json_schema", f'"{"a" * 60}!"', schema={"pattern": "^(a|a)+$"}) == 0.0
    assert await reward("json_schema", '"aaa"', schema={"pattern": "^(a|a)+$"}) == 1.0
    assert time.monotonic() - began < 10
