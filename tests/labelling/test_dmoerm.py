"""The double-layer mixture: category first, then capabilities, combined by weights that are given or learned."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from orchestrator.errors import LabelError
from orchestrator.labelling.base import Tools
from orchestrator.labelling.capabilities import CAPABILITIES, learn_weights, weight_vector
from orchestrator.labelling.registry import make_grader
from tests.support.asks import FakeAsks, item

NAMES = CAPABILITIES["objective question"]


def scores(**by_name):
    """A reply that scores every capability of objective questions 1, but those given."""
    return "\n".join(f"{name}: {by_name.get(name.replace(' ', '_'), 1)}" for name in NAMES)


def expert(replies, category="objective question"):
    """Sorts every query into `category`; scores an answer as `replies` says of its text."""

    def says(messages):
        if "categories" in messages[0]["content"]:
            return category
        return next(reply for text, reply in replies.items() if f"\n{text}\n" in messages[1]["content"])

    return FakeAsks(says)


async def rewards_of(answers, asks, **tools):
    grader = await make_grader("dmoerm:gpt", Tools(asks, **tools))
    return await grader.grade(item(), answers)


async def test_scores_are_combined_with_equal_weights():
    asks = expert(
        {"good": scores(**dict.fromkeys((n.replace(" ", "_") for n in NAMES), 10)), "half": scores(correctness=10)}
    )
    assert await rewards_of({"a": "good", "b": "half", "c": None}, asks) == {
        "a": pytest.approx(1.0),
        "b": pytest.approx(0.2),
        "c": 0.0,
    }
    assert len(asks.asked) == 3, "one reply for the category, one for each usable answer"


async def test_weights_that_are_given_decide():
    asks = expert({"x": scores(correctness=10), "y": scores(readability=10)})
    weights = {"objective question": {"correctness": 3.0, "readability": 1.0}}
    assert await rewards_of({"a": "x", "b": "y"}, asks, weights=weights) == {"a": 0.75, "b": 0.25}


@pytest.mark.parametrize("category", ["no idea", "roleplay or chitchat", ""])
async def test_a_query_without_one_category_is_not_graded(category):
    assert await rewards_of({"a": "x", "b": None}, expert({"x": scores()}, category)) == {"b": 0.0}


async def test_an_objective_question_is_told_from_a_subjective_one():
    grader = await make_grader("dmoerm:gpt", Tools(expert({}, "It is a **Subjective question**.")))
    assert await grader.category(item()) == "subjective question"


@pytest.mark.parametrize("reply", ["correctness: 10", scores(logic=11), "10 10 10 10 10"])
async def test_an_answer_whose_scores_are_not_whole_is_left_out(reply):
    assert await rewards_of({"a": "x"}, expert({"x": reply})) == {}


async def test_weights_are_learned_from_pairs(tmp_path):
    """People prefer what is correct and don't mind how it reads."""
    path = tmp_path / "pairs.jsonl"
    path.write_text(
        "\n".join(json.dumps({"query": f"q{i}", "chosen": "right", "rejected": "pretty"}) for i in range(20))
    )
    asks = expert({"right": scores(correctness=10), "pretty": scores(readability=10)})
    rewards = await rewards_of({"a": "right", "b": "pretty"}, asks, pairs=path)
    assert rewards["a"] > 0.5 > 0.05 > rewards["b"]


@given(
    arrays(np.float64, (7, 4), elements=st.floats(0, 1)),
    arrays(np.float64, (7, 4), elements=st.floats(0, 1)),
)
def test_learned_weights_combine_scores_within_0_and_1(chosen, rejected):
    weights = learn_weights(chosen, rejected)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1.0)


def test_pairs_that_say_nothing_leave_the_weights_equal():
    assert learn_weights(np.ones((3, 4)), np.ones((3, 4))) == pytest.approx([0.25] * 4)
    assert weight_vector({}, "chitchat") == pytest.approx([0.25] * 4)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ({"poetry": {}}, "unknown category 'poetry'"),
        ({"chitchat": {"speed": 1.0}}, "unknown capability 'speed'"),
        ({"chitchat": {"empathy": 0.0}}, "not all of them 0"),
        ({"chitchat": {"empathy": -1.0}}, "at least 0"),
        ({"chitchat": {"empathy": float("nan")}}, "at least 0"),
    ],
)
async def test_weights_that_cannot_be_are_refused(weights, reason):
    with pytest.raises(LabelError, match=reason):
        await make_grader("dmoerm:gpt", Tools(FakeAsks(), weights=weights))


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"query": "q", "chosen": "a"}', '{"query": "q", "chosen": 1, "rejected": "b"}']
)
async def test_a_wrong_pair_is_told_with_its_line(tmp_path, line):
    path = tmp_path / "pairs.jsonl"
    path.write_text(line)
    with pytest.raises(LabelError, match=r"pairs\.jsonl:1: expected"):
        await make_grader("dmoerm:gpt", Tools(FakeAsks(), pairs=path))
