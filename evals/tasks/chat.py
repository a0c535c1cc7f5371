"""A task that is asked in chat and judged by one of the rewards of `switchyard label`.

    task = ChatTask("arithmetic", "numeric", items, max_tokens=128, source=Path("arithmetic.jsonl"))

Each turn is asked with the turns and answers before it, and graded with them as its query; the reward is the mean over the turns,
and a turn that was never reached earns 0. Not here: where items come from (`published.py`, `judged.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from evals.tasks.base import Ask, Calls, Grade, Said, TaskItem, sample
from orchestrator.errors import DataError
from orchestrator.experts.inputs import conversation_text
from orchestrator.labelling.base import Asks, Grader, Tools
from orchestrator.labelling.registry import make_grader


@dataclass(frozen=True, slots=True)
class ChatTask:
    """reward: as `switchyard label --reward` takes it. source: the file that the items are from, for messages."""

    name: str
    reward: str
    items: Sequence[TaskItem]
    max_tokens: int
    source: Path
    kind: Literal["chat"] = "chat"

    def limited(self, limit: int) -> ChatTask:
        return replace(self, items=sample(self.items, limit))

    async def begin(self, model: str, calls: Calls) -> Ask:
        async def ask(item: TaskItem) -> tuple[Said, ...]:
            said: list[Said] = []
            for number in range(len(item.turns)):
                messages = _messages(item, said, number)
                said.append(await calls.chat(model, f"{self.name}/{item.id}", messages, max_tokens=self.max_tokens))
                if said[-1].text is None:
                    break
            return tuple(said)

        return ask

    async def grader(self, asks: Asks) -> Grade:
        grader = await make_grader(self.reward, Tools(asks))
        for item in self.items:
            self._check(grader, item)

        async def grade(item: TaskItem, said: Sequence[Said]) -> float | None:
            rewards = [await _reward(grader, item, said, number) for number in range(len(said))]
            known = [reward for reward in rewards if reward is not None]
            return sum(known) / len(item.turns) if len(known) == len(rewards) else None

        return grade

    def _check(self, grader: Grader, item: TaskItem) -> None:
        if self.reward.startswith("pairwise:") and item.reference is None:
            raise DataError(f"{self.source}: expected references to compare answers with, which alpacaeval:EXPERT has")
        for turn in item.turns:
            try:
                grader.check(turn)
            except ValueError as exc:
                raise DataError(f"{self.source}:{turn.line}: {exc}") from exc


async def _reward(grader: Grader, item: TaskItem, said: Sequence[Said], number: int) -> float | None:
    """Of one turn, in the light of those before it."""
    query = conversation_text({"messages": _messages(item, said, number)})
    answers = {"answer": said[number].text, **({"reference": item.reference} if item.reference else {})}
    return (await grader.grade(replace(item.turns[number], query=query), answers)).get("answer")


def _messages(item: TaskItem, said: Sequence[Said], number: int) -> tuple[Mapping[str, Any], ...]:
    """What is asked in a turn: everything so far."""
    before: list[Mapping[str, Any]] = []
    for turn, answer in zip(item.turns[:number], said, strict=False):
        before += [*turn.messages, {"role": "assistant", "content": answer.text}]
    return (*before, *item.turns[number].messages)
