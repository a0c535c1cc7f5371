"""Benchmarks that a judge decides, in tiny files of their published formats."""

import json

import pytest

from evals.tasks.base import Said
from evals.tasks.registry import load_task
from orchestrator.errors import DataError
from tests.support.asks import FakeAsks
from tests.support.bench import write_lines

MT_BENCH = {
    "question_id": 111,
    "category": "math",
    "turns": ["What is 2 + 2?", "And twice that?"],
    "reference": ["It is 4.", "It is 8."],
}


LOSER = {"mine": "theirs", "theirs": "mine"}


class Calls:
    """Says how many messages it was sent; nothing at all once it is silent."""

    def __init__(self, silent_after=10):
        self.asked = []
        self.silent_after = silent_after

    async def chat(self, model, purpose, messages, *, max_tokens):
        self.asked.append([message["content"] for message in messages])
        text = f"{len(messages)} messages" if len(self.asked) <= self.silent_after else None
        return Said(text, model, 0.0)


def mt_bench(tmp_path, **changes):
    return load_task(f"mtbench:gpt={write_lines(tmp_path / 'question.jsonl', [MT_BENCH | changes])}")


async def test_the_second_turn_is_asked_after_the_first_answer(tmp_path):
    task, calls = mt_bench(tmp_path), Calls()
    said = await (await task.begin("small", calls))(task.items[0])
    assert calls.asked == [["What is 2 + 2?"], ["What is 2 + 2?", "1 messages", "And twice that?"]]
    assert [each.text for each in said] == ["1 messages", "3 messages"]


async def test_each_turn_is_rated_with_its_reference_and_what_came_before(tmp_path):
    asks = FakeAsks(lambda messages: "Rating: [[10]]" if "It is 8." in messages[-1]["content"] else "Rating: [[1]]")
    task = mt_bench(tmp_path)
    grade = await task.grader(asks)
    assert await grade(task.items[0], [Said("four", "a", 0.0), Said("eight", "a", 0.0)]) == 0.5
    assert "What is 2 + 2?\n\nfour\n\nAnd twice that?" in asks.asked[1][-1]["content"]
    assert task.items[0].group == "math"


async def test_a_turn_that_was_not_reached_earns_nothing(tmp_path):
    task, calls = mt_bench(tmp_path, reference=None), Calls(silent_after=1)
    task_of_three = mt_bench(tmp_path, turns=["1?", "2?", "3?"], reference=[])
    said = await (await task.begin("small", calls))(task_of_three.items[0])
    assert [each.text for each in said] == ["1 messages", None]
    grade = await task.grader(FakeAsks(lambda _: "Rating: [[10]]"))
    assert await grade(task_of_three.items[0], said) == pytest.approx(1 / 3)


async def test_a_judge_without_a_verdict_leaves_no_reward(tmp_path):
    task = mt_bench(tmp_path)
    grade = await task.grader(FakeAsks(lambda _: "Hm."))
    assert await grade(task.items[0], [Said("four", "a", 0.0), Said("eight", "a", 0.0)]) is None


@pytest.mark.parametrize(("winner", "expected"), [("mine", 1.0), ("theirs", 0.0)])
async def test_alpaca_eval_compares_with_the_reference_in_both_orders(tmp_path, winner, expected):
    path = tmp_path / "alpaca_eval.json"
    row = {"instruction": "Say something.", "output": "theirs", "generator": "gpt", "dataset": "helpful_base"}
    path.write_text(json.dumps([row]))

    def judge(messages):
        shown = messages[-1]["content"]
        return f"Verdict: [[{'A' if shown.index(winner) < shown.index(LOSER[winner]) else 'B'}]]"

    task = load_task(f"alpacaeval:gpt={path}")
    grade = await task.grader(FakeAsks(judge))
    assert await grade(task.items[0], [Said("mine", "a", 0.0)]) == expected
    assert task.items[0].group == "helpful_base"


async def test_pairs_need_a_reference(tmp_path):
    path = write_lines(tmp_path / "q.jsonl", [{"query": "Say something."}])
    with pytest.raises(DataError, match=r"q\.jsonl: expected references .* alpacaeval:EXPERT"):
        await load_task(f"pairwise:gpt={path}").grader(FakeAsks(lambda _: ""))


def test_a_question_without_turns_is_told(tmp_path):
    with pytest.raises(DataError, match=r"question\.jsonl:1: field 'turns': expected at least one text"):
        mt_bench(tmp_path, turns=[])
