"""What a gateway has asked the scheduler and has no answer to yet, over any number of connections.

    questions = Questions(clock, patience_s=10.0)
    asked = questions.add(Warm(1, "llama"), deadline=math.inf)
    questions.answer(1, None)                       # whoever awaits asked.answer goes on
    list(questions.expire(lost_at))                 # while there is no connection: nobody waits for one for too long

Not here: how they are sent (`client.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import DeadlineExceeded, NoCapacity, SwitchyardError
from orchestrator.scheduler.remote.wire import Acquire, Question

RETRY_AFTER_S = 1.0


@dataclass(slots=True)
class Asked:
    """A question without an answer yet. at, deadline: of this side's clock."""

    question: Question
    answer: asyncio.Future[Any]
    at: float
    deadline: float


class Questions:
    """patience_s: how long one waits for a connection. clock: seconds, as in deadlines."""

    def __init__(self, clock: Callable[[], float], patience_s: float) -> None:
        self._clock = clock
        self._patience_s = patience_s
        self._asked: dict[int, Asked] = {}

    def add(self, question: Question, deadline: float) -> Asked:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        asked = self._asked[question.number] = Asked(question, answer, self._clock(), deadline)
        return asked

    def again(self) -> Iterator[Question]:
        """All of them, to be asked on another connection, with what is left of their time."""
        now = self._clock()
        for asked in self._asked.values():
            if isinstance(asked.question, Acquire):
                asked.question.left_s = asked.deadline - now
            yield asked.question

    def answer(self, number: int, answer: object) -> bool:
        """False where nobody waits for it any more."""
        asked = self._asked.pop(number, None)
        if asked is None or asked.answer.done():
            return False
        asked.answer.set_result(answer)
        return True

    def fail(self, number: int, error: SwitchyardError) -> None:
        asked = self._asked.pop(number, None)
        if asked is not None and not asked.answer.done():
            asked.answer.set_exception(error)

    def forget(self, number: int) -> bool:
        """Nobody waits for it any more; false where it has its answer."""
        return self._asked.pop(number, None) is not None

    def fail_all(self, error: Callable[[], SwitchyardError]) -> None:
        for number in list(self._asked):
            self.fail(number, error())

    def expire(self, lost_at: float) -> Iterator[int]:
        """The numbers of those that have waited for too long, which fail by that. lost_at: since when there is no connection."""
        now = self._clock()
        for number, asked in list(self._asked.items()):
            if now >= asked.deadline:
                self.fail(number, DeadlineExceeded("the scheduler was not there before the deadline"))
                yield number
            elif now >= max(asked.at, lost_at) + self._patience_s:
                self.fail(number, unreachable())
                yield number


def unreachable() -> NoCapacity:
    return NoCapacity("the scheduler can't be reached now", retry_after_s=RETRY_AFTER_S)
