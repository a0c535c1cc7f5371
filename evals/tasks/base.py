"""What a task is: items to ask a model, and how good what it says is.

    task = load_task("gsm8k=test.jsonl")                          # evals/tasks/registry.py
    ask = await task.begin("auto", calls)
    said = await ask(task.items[0])                               # (Said(text='#### 72', expert='large', ...),)
    grade = await task.grader(asks)
    await grade(task.items[0], said)                              # 1.0

Not here: who is asked by which server, and what becomes of the answers (`evals/live/`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, Protocol

from orchestrator.errors import DataError
from orchestrator.labelling.base import Asks
from orchestrator.labelling.queries import Item
from routers.base import FloatArray

TaskKind = Literal["chat", "embedding"]


@dataclass(frozen=True, slots=True)
class TaskItem:
    """turns: what is asked, one after the other, each after the answer to the one before; at least one.

    reference: somebody else's answer, which answers are compared with.
    """

    id: str
    turns: tuple[Item, ...]
    reference: str | None = None

    @property
    def query(self) -> str:
        """What a router would see: the first turn."""
        return self.turns[0].query

    @property
    def group(self) -> str | None:
        return self.turns[0].group

    @property
    def target(self) -> str | None:
        return self.turns[0].target


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one call. ttft_s: until the first token, None where the answer was not streamed. The gateway says the last five.

    calls: to experts, a panel's members and its judge one by one.
    """

    latency_s: float = 0.0
    ttft_s: float | None = None
    overhead_ms: float = 0.0
    wait_ms: float = 0.0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0
    calls: float = 1.0


@dataclass(frozen=True, slots=True)
class Said:
    """An answer. text: None for one that can't be used. expert: who gave it."""

    text: str | None
    expert: str
    cost_usd: float
    measured: Measured = Measured()


class Calls(Protocol):
    """How a task asks a model. purpose: what the call is for; the same purpose, model and content are asked and paid for once."""

    async def chat(self, model: str, purpose: str, messages: Sequence[Mapping[str, Any]], *, max_tokens: int) -> Said:
        """Raises `GatewayError` where there is no answer now; one that says that this is not for it is an unusable answer."""
        ...

    async def embed(self, model: str, purpose: str, texts: Sequence[str]) -> tuple[FloatArray, Said]:
        """Vectors `(n_texts, dimensions)`, of texts cut to what the model reads. Raises `GatewayError`, also when it refuses."""
        ...


Ask = Callable[[TaskItem], Awaitable[tuple[Said, ...]]]
"""An item's answers, one a turn, none after one that can't be used. Raises `GatewayError` where there is no answer now."""
Grade = Callable[[TaskItem, Sequence[Said]], Awaitable[float | None]]
"""The reward, 0..1; None where a judge doesn't say. Raises `SwitchyardError` when the judge can't be asked now."""


class Task(Protocol):
    """name: in tables and files. kind: the models that it is for."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> TaskKind: ...

    @property
    def items(self) -> Sequence[TaskItem]: ...

    def limited(self, limit: int) -> Task:
        """The task with so many of its items, if it has more (`sample`)."""
        ...

    async def begin(self, model: str, calls: Calls) -> Ask:
        """What asks this model, once what all items need is there. Raises `GatewayError`."""
        ...

    async def grader(self, asks: Asks) -> Grade:
        """What judges answers. Raises `DataError` or `LabelError` when items, or the judge, can't be used."""
        ...


def sample(items: Sequence[TaskItem], limit: int) -> tuple[TaskItem, ...]:
    """`limit` items in their order, drawn by the hashes of their ids: whoever raises the limit keeps those that were asked."""
    drawn = {item.id for item in sorted(items, key=lambda item: blake2b(item.id.encode()).digest())[:limit]}
    return tuple(item for item in items if item.id in drawn)


def distinct(items: Sequence[TaskItem], path: Path) -> tuple[TaskItem, ...]:
    """The items, which answers are told apart by. Raises `DataError` where two have one id, or none is there."""
    if not items:
        raise DataError(f"{path}: there is nothing in it")
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise DataError(f"{path}:{item.turns[0].line}: the id '{item.id}' is taken; expected another for each line")
        seen.add(item.id)
    return tuple(items)


def text_turn(text: str, line: int, group: str, target: str | None = None) -> Item:
    """A turn that is one text."""
    return Item(text, ({"role": "user", "content": text},), group=group, target=target, line=line)
