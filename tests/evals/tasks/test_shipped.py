"""The shipped tasks are right: what is said to earn 1 does, and what says nothing earns 0."""

import json

import pytest

from evals.tasks.base import Said
from evals.tasks.shipped import SHIPPED, path_of, shipped
from orchestrator.experts.calculator import answer
from tests.support.asks import FakeAsks


async def grade_of(task):
    return await task.grader(FakeAsks(lambda _: ""))


def references(name):
    """An answer to each item that must earn 1: the file's own, or the target."""
    rows = map(json.loads, path_of(name).read_text().splitlines())
    return [row.get("answers", {}).get("reference", row.get("target")) for row in rows]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "code" else name for name in SHIPPED]
)
async def test_every_item_can_be_solved(name):
    task = shipped(name)
    grade = await grade_of(task)
    assert 20 <= len(task.items) <= 40
    for item, reference in zip(task.items, references(name), strict=True):
        assert await grade(item, [Said(reference, "a", 0.0)]) == 1.0, item.id


@pytest.mark.parametrize("name", SHIPPED)
async def test_nothing_said_earns_nothing(name):
    task = shipped(name)
    grade = await grade_of(task)
    for item, text in zip(task.items[:3], ["I can't tell.", None, ""], strict=True):
        assert await grade(item, [Said(text, "a", 0.0)]) == 0.0


def test_the_calculator_solves_expressions_and_declines_word_problems():
    solved = {item.group: [] for item in shipped("arithmetic").items}
    for item in shipped("arithmetic").items:
        solved[item.group].append(answer(item.query) == item.target)
    assert all(solved["expression"])
    assert not any(solved["word problem"])


def test_queries_are_asked_once():
    queries = [item.query for name in SHIPPED for item in shipped(name).items]
    assert len(queries) == len(set(queries))
