"""What a query is expected to cost, and what it costs at most."""

import pytest
from msgspec.structs import replace

from orchestrator.config import EchoSpec
from orchestrator.routing.pricing import (
    EXPECTED_COMPLETION_TOKENS,
    UNBOUNDED_ANSWER_TOKENS,
    expected_cents,
    expected_tokens,
    most_usd,
)
from routers.data.costs import CostModel
from tests.support.queries import make_query


def dollar_a_token(**fields):
    return EchoSpec(name="dear", backend="echo", price={"input": 1e6, "output": 1e6}, **fields)


def asking(**fields):
    """A chat query of 10 prompt tokens."""
    return make_query("chat", {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], **fields})


@pytest.mark.parametrize(
    ("asked", "spec", "tokens"),
    [
        ({"max_tokens": 5}, {}, 5),
        ({"max_tokens": 5, "max_completion_tokens": 7}, {}, 7),
        ({}, {"context": 1000}, 990),
        ({}, {}, UNBOUNDED_ANSWER_TOKENS),
        ({"max_tokens": 5}, {"context": 1000, "parameters": {"drop": ["max_tokens"]}}, 990),
        ({"max_tokens": 5}, {"parameters": {"set": {"max_tokens": 4096}}}, 4096),
    ],
)
def test_at_most_is_all_that_the_expert_may_write(asked, spec, tokens):
    assert most_usd(dollar_a_token(**spec), asking(**asked)) == 10 + tokens


def test_every_answer_and_every_input_is_paid_for():
    query = replace(asking(max_tokens=5), num_answers=3, other_prompt_tokens=90)
    assert most_usd(dollar_a_token(), query) == 100 + 3 * 5
    assert expected_cents(dollar_a_token(), query, expected_tokens(query)) == 100 * (100 + 3 * 5)


def test_no_answer_is_expected_to_be_endless():
    assert expected_tokens(asking()) == expected_tokens(asking(max_tokens=10**6)) == EXPECTED_COMPLETION_TOKENS


def test_vectors_have_no_answer_tokens():
    query = make_query("embedding", {"model": "auto", "input": "x"})
    assert expected_tokens(query) == 0
    assert most_usd(dollar_a_token(kind="embedding"), query) == 10


def test_what_answers_did_cost_comes_before_prices():
    query = asking()
    costs = CostModel({"dear": (2.0, 0.5)})
    assert expected_cents(dollar_a_token(), query, 7, costs) == 2.0 + 0.5 * query.prompt_tokens
    assert expected_cents(dollar_a_token(), replace(query, num_answers=3), 7, costs) == 6.0 + 0.5 * query.prompt_tokens
    assert expected_cents(dollar_a_token(), query, 7, CostModel({"other": (1.0, 0.0)})) == 100 * (
        query.prompt_tokens + 7
    )
