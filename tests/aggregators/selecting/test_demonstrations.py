"""Questions with known answers, and those most like a new one."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.aggregators.selecting.demonstrations import Demonstrations
from routers.base import Outcome
from routers.data.outcomes import write_outcomes

WORKED = "Ten times seven is seventy, less two times seven is fifty-six. The answer is 56."


def demonstrations(path: Path, *outcomes: Outcome) -> Demonstrations:
    write_outcomes(path / "O.jsonl", outcomes)
    return Demonstrations(path / "O.jsonl")


def test_the_most_alike_come_first(tmp_path: Path):
    found = demonstrations(
        tmp_path,
        Outcome("Who wrote Faust?", {"a": 1.0}, target="Goethe"),
        Outcome("What is 8 x 7?", {"a": 1.0}, target="56"),
        Outcome("Who wrote Emma?", {"a": 1.0}, target="Austen"),
    ).nearest("Who wrote Dracula?", 2)
    assert {each.target for each in found} == {"Goethe", "Austen"}


def test_a_right_answer_with_its_reasoning_is_kept(tmp_path: Path):
    answers = {"a": "56", "b": WORKED, "c": WORKED.replace("56.", "57."), "d": None}
    outcome = Outcome("What is 8 x 7?", {"a": 1.0, "b": 1.0, "c": 0.0, "d": 0.0}, answers=answers, target="56")
    assert demonstrations(tmp_path, outcome).nearest("8 x 7", 1)[0].reasoning == WORKED


def test_an_answer_that_was_wrong_is_no_reasoning(tmp_path: Path):
    outcome = Outcome("What is 8 x 7?", {"b": 0.0}, answers={"b": WORKED}, target="56")
    assert demonstrations(tmp_path, outcome).nearest("8 x 7", 1)[0].reasoning is None


def test_test_lines_and_those_without_a_target_are_left_alone(tmp_path: Path):
    kept = Outcome("What is 8 x 7?", {"a": 1.0}, target="56")
    tested = Outcome("What is 9 x 7?", {"a": 1.0}, target="63", split="test")
    found = demonstrations(tmp_path, tested, Outcome("What is 7 x 7?", {"a": 1.0}), kept)
    assert [each.query for each in found.nearest("x", 5)] == [kept.query]


def test_a_file_without_targets_is_an_error(tmp_path: Path):
    with pytest.raises(ValueError, match=r"O\.jsonl: expected outcomes with a target"):
        demonstrations(tmp_path, Outcome("What is 7 x 7?", {"a": 1.0}))
