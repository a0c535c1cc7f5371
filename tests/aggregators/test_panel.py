"""Several experts asked at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from orchestrator.aggregators.base import MemberAnswer
from orchestrator.aggregators.first import First
from orchestrator.aggregators.panel import Ask, run_panel
from orchestrator.aggregators.vote import Vote
from orchestrator.config import PanelSpec
from orchestrator.errors import (
    AllExpertsFailed,
    DeadlineExceeded,
    ExpertError,
    NoCapacity,
    RateLimited,
    RequestError,
)

QUESTION = "What is 6 x 7?"


class Members:
    """What each expert says: a text, an exception, or None to hang until it is cancelled."""

    def __init__(self, **says: str | Exception | None) -> None:
        self.says = says
        self.asked: list[str] = []
        self.cancelled: list[str] = []
        self.all_asked = asyncio.Event()

    async def ask(self, expert: str) -> MemberAnswer:
        self.asked.append(expert)
        if len(self.asked) == len(self.says):
            self.all_asked.set()
        said = self.says[expert]
        if isinstance(said, Exception):
            raise said
        if said is None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.append(expert)
                raise
        return MemberAnswer(expert, said or "")

    def spec(self, *, quorum: int = 1, timeout_s: float = 30.0) -> PanelSpec:
        return PanelSpec(experts=tuple(self.says), quorum=quorum, timeout_s=timeout_s)


def failure(expert: str) -> ExpertError:
    return ExpertError(expert, "reset", "broke off")


async def test_all_members_are_asked_and_combined():
    members = Members(a="42", b="48", c="42")
    combined = await run_panel(members.spec(), QUESTION, members.ask, Vote())
    assert (combined.text, combined.who, combined.missing) == ("42", ("a", "c"), {})
    assert members.asked == ["a", "b", "c"]


async def test_members_run_at_the_same_time():
    arrived = asyncio.Barrier(3)

    async def ask(expert: str) -> MemberAnswer:
        await arrived.wait()
        return MemberAnswer(expert, "42")

    spec = PanelSpec(experts=("a", "b", "c"), timeout_s=5)
    assert (await run_panel(spec, QUESTION, ask, Vote())).who == ("a", "b", "c")


async def test_an_eager_aggregator_waits_for_nobody_else():
    members = Members(a=None, b="42", c=None)
    combined = await run_panel(members.spec(), QUESTION, members.ask, First())
    assert (combined.text, combined.who) == ("42", ("b",))
    assert combined.missing == {"a": "was not waited for", "c": "was not waited for"}
    assert members.cancelled == ["a", "c"]


async def test_an_empty_answer_is_not_the_first():
    members = Members(a="  ", b="42")
    combined = await run_panel(members.spec(), QUESTION, members.ask, First())
    assert (combined.who, combined.missing) == (("b",), {"a": "an empty answer"})


async def test_a_failure_is_recorded_and_the_others_go_on():
    members = Members(a=failure("a"), b="42")
    combined = await run_panel(members.spec(), QUESTION, members.ask, Vote())
    assert (combined.who, combined.missing) == (("b",), {"a": "broke off"})


async def test_after_the_timeout_those_who_answered_are_combined():
    members = Members(a="42", b=None)
    combined = await run_panel(members.spec(timeout_s=0.05), QUESTION, members.ask, Vote())
    assert (combined.who, combined.missing) == (("a",), {"b": "no answer within 0.05 s"})
    assert members.cancelled == ["b"]


@pytest.mark.parametrize(
    ("members", "quorum", "message"),
    [
        (lambda: Members(a=failure("a"), b=""), 1, "0 of 2 members answered, and 1 are needed"),
        (lambda: Members(a=failure("a"), b="42", c=None), 2, "1 of 3 members answered, and 2 are needed"),
    ],
)
async def test_without_a_quorum_it_fails_and_says_why(members: Callable[[], Members], quorum: int, message: str):
    panel = members()
    with pytest.raises(AllExpertsFailed, match=message) as caught:
        await run_panel(panel.spec(quorum=quorum, timeout_s=0.05), QUESTION, panel.ask, Vote())
    assert "a: broke off" in caught.value.message


REFUSED = RequestError("no such field", param="seed")
LIMITED = RateLimited("limited", retry_after_s=3)
LATE = DeadlineExceeded("too late")


@pytest.mark.parametrize(
    ("causes", "told"),
    [
        ([REFUSED, REFUSED], RequestError),
        ([LIMITED, LIMITED], RateLimited),
        ([NoCapacity("shutting down"), NoCapacity("shutting down")], NoCapacity),
        ([AllExpertsFailed("a: server_error"), LATE], DeadlineExceeded),
        ([REFUSED, AllExpertsFailed("b: server_error")], AllExpertsFailed),
        ([REFUSED, ""], AllExpertsFailed),
    ],
)
async def test_what_all_failed_of_is_what_the_client_is_told(causes: list[Exception | str], told: type[Exception]):
    members = Members(a=causes[0], b=causes[1])
    with pytest.raises(told) as caught:
        await run_panel(members.spec(), QUESTION, members.ask, Vote())
    assert caught.type is told


async def test_cancelling_it_cancels_the_members():
    members = Members(a=None, b=None)
    task = asyncio.create_task(run_panel(members.spec(), QUESTION, members.ask, Vote()))
    await members.all_asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert members.cancelled == ["a", "b"]


async def test_a_bug_in_asking_is_not_taken_for_a_failed_expert():
    members = Members(a=ZeroDivisionError("a bug"), b=None)
    ask: Ask = members.ask
    with pytest.raises(ZeroDivisionError):
        await run_panel(members.spec(), QUESTION, ask, Vote())
    assert members.cancelled == ["b"]
