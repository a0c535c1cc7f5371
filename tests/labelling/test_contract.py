"""What every reward promises, over the registry: a new one is tested by being listed."""

import pytest

from orchestrator.errors import LabelError
from orchestrator.labelling.base import Tools
from orchestrator.labelling.queries import InOut
from orchestrator.labelling.registry import ARGUMENTS, GRADERS, make_grader, reward_names
from tests.support.asks import FakeAsks, item

WANTED = {
    "exact": {"target": "4"},
    "numeric": {"target": "4"},
    "choice": {"choices": ("3", "4"), "target": "B"},
    "contains": {"target": "4"},
    "regex": {"target": "4"},
    "json_schema": {"schema": {"const": 4}},
    "code": {"tests": (InOut("", "4"),)},
    "similarity": {"target": "4"},
}
RIGHT = {"code": "print(4)"}
REPLIES = "objective question\nRating: [[10]]\nVerdict: [[A]]\n" + "\n".join(
    f"{name}: 10" for name in ("correctness", "completeness", "logic", "intent conformity", "readability")
)


NAMES = [name for name in GRADERS if name != "model"]  # which needs weights: test_rewardmodel.py


async def grader_of(name):
    argument = ":gpt" if name in ARGUMENTS else ""
    return await make_grader(name + argument, Tools(FakeAsks(lambda _: REPLIES)))


@pytest.mark.parametrize("name", NAMES)
async def test_a_right_answer_earns_1_and_an_unusable_one_0(name):
    grader = await grader_of(name)
    query = item(**WANTED.get(name, {}))
    grader.check(query)
    rewards = await grader.grade(query, {"a": RIGHT.get(name, "4"), "b": None})
    assert rewards == {"a": 1.0, "b": 0.0}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "hostile", ["", " \n", "\x00", "```", "[" * 50_000, "9" * 20_000, "\ud800", "(A) (B) is (C)", "1/0"]
)
async def test_rewards_are_from_0_to_1_whatever_is_answered(name, hostile):
    grader = await grader_of(name)
    rewards = await grader.grade(item(**WANTED.get(name, {})), {"a": hostile, "b": None})
    assert set(rewards) <= {"a", "b"}
    assert all(0.0 <= reward <= 1.0 for reward in rewards.values())


@pytest.mark.parametrize("name", NAMES)
async def test_nobody_answered_is_no_error(name):
    assert await (await grader_of(name)).grade(item(**WANTED.get(name, {})), {}) == {}


@pytest.mark.parametrize("name", WANTED)
async def test_what_a_query_lacks_is_told_by_field(name):
    grader = await grader_of(name)
    field = next(reversed(WANTED[name]))
    with pytest.raises(ValueError, match=f"the reward '{name}' needs the field '{field}'"):
        grader.check(item())


async def test_an_unknown_reward_gets_an_error_that_lists_the_known_ones():
    with pytest.raises(LabelError, match="'bleu' is no reward; expected one of exact, numeric"):
        await make_grader("bleu", Tools(FakeAsks()))
    assert "judge:EXPERT" in reward_names()


@pytest.mark.parametrize(
    ("reward", "expected"), [("judge", "judge:EXPERT"), ("judge:", "judge:EXPERT"), ("exact:x", "exact")]
)
async def test_an_argument_is_given_where_it_belongs(reward, expected):
    with pytest.raises(LabelError, match=f"'{reward}' is no reward; expected {expected}$"):
        await make_grader(reward, Tools(FakeAsks()))


@pytest.mark.parametrize("name", sorted(ARGUMENTS.keys() - {"model"}))
async def test_an_expert_that_is_not_there_is_refused_at_once(name):
    with pytest.raises(LabelError, match="'nobody' is no expert"):
        await make_grader(f"{name}:nobody", Tools(FakeAsks()))


async def test_weights_are_only_for_the_reward_that_has_them():
    with pytest.raises(LabelError, match="for the reward dmoerm"):
        await make_grader("exact", Tools(FakeAsks(), weights={"chitchat": {"empathy": 1.0}}))
