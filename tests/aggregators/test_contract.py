"""What every aggregator promises, whoever fails, refuses or rambles."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.aggregators.base import Aggregator
from orchestrator.aggregators.registry import AGGREGATORS, make_aggregator
from orchestrator.errors import ConfigError, ExpertError, NoQuorum
from tests.support.panels import make_table

TOKENWISE = ("logits", "dynamic_logits", "contrast")
"""Made of next-token distributions rather than answers: `tokens/test_token_panels.py`."""
TRAINED = ("fusion_of_experts",)
"""Needs an artifact: `test_fusion_of_experts.py`."""
SAYS = {"a": "The answer is 42.", "b": "42", "c": "I think it is 48."}
JUDGES = [
    "A",
    "yes",
    "The best is answer B.",
    "",
    "I'm sorry, but I can't help with that.",
    '{"winner": ',
    "42 " * 40_000,
    "答案是四十二",
]

every_aggregator = pytest.mark.parametrize("name", [name for name in AGGREGATORS if name not in TOKENWISE + TRAINED])


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> Path:
    """Labelled questions, for those that show some."""
    path = tmp_path_factory.mktemp("examples") / "examples.jsonl"
    lines = [{"query": f"What is {i} x 2?", "rewards": {"a": 1.0}, "target": str(2 * i)} for i in range(8)]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.fixture(scope="module")
def make(examples):
    def make(name: str) -> Aggregator:
        return make_aggregator(name, parameters={"demonstrations": str(examples)} if name == "medprompt" else {})

    return make


def failure(expert: str) -> ExpertError:
    return ExpertError(expert, "reset", "broke off")


@every_aggregator
@pytest.mark.parametrize("judge", JUDGES, ids=range(len(JUDGES)))
async def test_whatever_the_judge_says_there_is_an_answer_and_it_rests_on_somebody(name: str, judge: str, make):
    table = make_table({**SAYS, "judge": judge}, judge="judge", context=2048)
    combined = await make(name).combine(table)
    assert combined.text.strip()
    assert combined.why
    assert combined.who
    assert set(combined.who) <= {*table.members, "judge"}


@every_aggregator
async def test_a_judge_that_fails_leaves_an_answer_of_the_members(name: str, make):
    table = make_table({**SAYS, "judge": failure("judge")}, judge="judge")
    combined = await make(name).combine(table)
    assert combined.text in SAYS.values()


@every_aggregator
async def test_members_that_fail_refuse_or_hang_are_done_without(name: str, make):
    refusal = "I'm sorry, but I can't help with that."
    table = make_table(
        {"a": failure("a"), "b": "42", "c": None, "d": refusal, "judge": "A"}, judge="judge", timeout_s=0.1
    )
    combined = await make(name).combine(table)
    assert combined.text.strip()
    assert {"a", "c"}.isdisjoint(combined.who)


@every_aggregator
async def test_when_all_members_fail_it_says_so(name: str, make):
    if name == "conductor":
        pytest.skip("its judge may answer by itself")
    table = make_table({"a": failure("a"), "b": failure("b"), "judge": "A"}, judge="judge")
    with pytest.raises(NoQuorum, match="broke off"):
        await make(name).combine(table)


@every_aggregator
async def test_a_book_of_an_answer_is_taken_in(name: str, make):
    table = make_table({**SAYS, "a": "word " * 100_000, "judge": "A"}, judge="judge", context=2048)
    assert (await make(name).combine(table)).text.strip()


@every_aggregator
@given(calls=st.integers(1, 12))
async def test_a_budget_is_never_exceeded(name: str, calls: int, make):
    table = make_table({**SAYS, "judge": "A"}, judge="judge", calls=calls)
    combined = await make(name).combine(table)
    assert len(table.colleagues.asked) <= calls
    assert combined.text.strip()


@every_aggregator
async def test_nobody_is_told_who_the_others_are(name: str, make):
    scripts = {f"secret-{member}": said for member, said in SAYS.items()}
    table = make_table({**scripts, "judge": "A"}, judge="judge")
    combined = await make(name).combine(table)
    prompts = json.dumps([body["messages"] for _, body in table.colleagues.asked])
    assert "secret-" not in prompts
    assert combined.final is None or "secret-" not in json.dumps(list(combined.final.messages))


@every_aggregator
async def test_the_same_answers_give_the_same_result(name: str, make):
    if name == "first":
        pytest.skip("who is first is a matter of time")

    def table():
        return make_table({**SAYS, "judge": "A"}, judge="judge")

    aggregator = make(name)
    assert await aggregator.combine(table()) == await aggregator.combine(table())


@every_aggregator
async def test_cancelling_it_cancels_everybody(name: str, make):
    table = make_table({"a": None, "b": None, "c": None, "judge": None}, judge="judge")
    task = asyncio.create_task(make(name).combine(table))
    while not table.colleagues.asked:  # noqa: ASYNC110  the members tell by having been asked
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked = {expert for expert, _ in table.colleagues.asked}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert set(table.colleagues.cancelled) == asked


def test_an_unknown_name_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ConfigError, match="'votes' is no aggregator; expected one of first, vote"):
        make_aggregator("votes")


def test_a_parameter_that_it_does_not_have_is_an_error():
    with pytest.raises(
        ConfigError, match="unknown parameter 'layer' of the aggregator 'synthesis', which accepts: layers"
    ):
        make_aggregator("synthesis", parameters={"layer": 2})
