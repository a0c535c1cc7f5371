"""Whether as many members speak as a panel demands; what can't be is refused at load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.aggregators.base import MemberAnswer
from orchestrator.aggregators.quorum import is_quorate
from orchestrator.aggregators.registry import make_aggregator
from orchestrator.config import EchoSpec, PanelSpec


def check(name: str, num_members: int, *, quorum: int = 1, base_dir: Path = Path(), **parameters: Any) -> None:
    """As the fleet checks a panel when it is made."""
    members = [EchoSpec(name=f"m{place}", backend="echo") for place in range(num_members)]
    panel = PanelSpec(experts=tuple(member.name for member in members), aggregator=name, quorum=quorum)
    aggregator: Any = make_aggregator(name, parameters=parameters, base_dir=base_dir)
    aggregator.check(members, panel)


def test_members_are_counted_and_not_answers():
    answers = [MemberAnswer("a", "42"), MemberAnswer("a", "43")]
    assert is_quorate(answers, 1) and not is_quorate(answers, 2)
    assert is_quorate([*answers, MemberAnswer("b", "44")], 2)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("chain", "what one member leaves is the answer"),
        ("cascade", "it stops at the first answer that may stand"),
        ("conductor", "members see only parts of the question"),
    ],
)
def test_a_quorum_is_refused_where_one_member_is_enough(name: str, told: str):
    check(name, 3)
    with pytest.raises(ValueError, match=f"quorum: expected at most 1, as {told}, got 2"):
        check(name, 3, quorum=2)


def test_a_quorum_of_more_than_are_asked_is_refused(tmp_path: Path):
    (tmp_path / "O.jsonl").write_text(json.dumps({"query": "8 x 7?", "rewards": {"a": 1.0}, "target": "56"}))
    shown = {"demonstrations": "O.jsonl", "base_dir": tmp_path}
    check("multi_expert", 4, quorum=3, experts_count=3)
    check("medprompt", 4, quorum=2, samples=2, **shown)
    with pytest.raises(ValueError, match=r"quorum: expected at most 3, .* \(experts_count\), got 4"):
        check("multi_expert", 4, quorum=4, experts_count=3)
    with pytest.raises(ValueError, match=r"quorum: expected at most 2, .* \(samples\), got 3"):
        check("medprompt", 4, quorum=3, samples=2, **shown)


@pytest.mark.parametrize(("name", "num_members", "agree"), [("cascade", 2, 2), ("cascade", 3, 9), ("chain", 3, 4)])
def test_more_who_agree_than_there_are_is_refused(name: str, num_members: int, agree: int):
    with pytest.raises(ValueError, match=f"agree: expected no more than .*, got {agree}"):
        check(name, num_members, agree=agree)


@pytest.mark.parametrize(("name", "num_members", "agree"), [("cascade", 3, 2), ("chain", 1, 2), ("chain", 3, 3)])
def test_as_many_who_agree_as_there_are_is_fine(name: str, num_members: int, agree: int):
    check(name, num_members, agree=agree)
