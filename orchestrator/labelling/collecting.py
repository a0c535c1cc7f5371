"""All the answers: every expert asked every query, grouped so that each is loaded once.

    collected = await collect(asker, specs, items, ["small", "large"], settings, step)
    collected.answers(0)                          # {"small": "391", "large": None}

Experts elsewhere are asked at once; those that hold weights here follow one another, with those that share their weights beside
them. An expert that fails `GIVE_UP_AFTER` times in a row isn't asked further, and nobody is once the budget is spent; what was
answered before is there all the same. Not here: how one is asked (`asking.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from orchestrator.config import ExpertBase
from orchestrator.errors import LabelError, SwitchyardError
from orchestrator.labelling.asking import Asker, Said
from orchestrator.labelling.budget import BudgetSpent
from orchestrator.labelling.queries import Item

GIVE_UP_AFTER = 10

Step = Callable[[], None]
"""Called when one more is done."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settings:
    """How experts are asked. temperature None leaves it to them."""

    max_tokens: int = 1024
    temperature: float | None = None


@dataclass(slots=True)
class Collected:
    """said: by query's index and expert. failed: how often an expert could not be asked; reasons: the first one each.

    budget_spent: whether the budget ended it before all were asked.
    """

    experts: tuple[str, ...]
    said: dict[tuple[int, str], Said] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    budget_spent: bool = False

    def of(self, index: int) -> dict[str, Said]:
        """What was said to one query, in the order of the experts."""
        return {expert: self.said[index, expert] for expert in self.experts if (index, expert) in self.said}

    def answers(self, index: int) -> dict[str, str | None]:
        return {expert: said.text for expert, said in self.of(index).items()}


async def collect(
    asker: Asker,
    specs: Mapping[str, ExpertBase],
    items: Sequence[Item],
    experts: Sequence[str],
    settings: Settings,
    step: Step,
) -> Collected:
    """Ask until all have answered or failed, or the budget is spent. Raises `LabelError` when answers can't be kept."""
    collected = Collected(tuple(experts))

    async def ask_all(expert: str) -> None:
        await _ask_all(asker, items, expert, settings, step, collected)

    async def ask_in_turn(hosts: Iterable[Sequence[str]]) -> None:
        for sharing in hosts:
            await each(sharing, ask_all, at_once=len(sharing))

    remote, resident = _grouped(specs, experts)
    turns = [[group] for group in remote]
    await each([*turns, resident], ask_in_turn, at_once=len(turns) + 1)
    return collected


async def each(items: Iterable[T], work: Callable[[T], Awaitable[None]], *, at_once: int) -> None:
    """Do `work` on every item, `at_once` at a time and begun in order. The first failure ends it, and is raised as it is."""
    queue = iter(items)

    async def worker() -> None:
        for item in queue:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(max(at_once, 1)):
                group.create_task(worker())
    except* Exception as failures:  # noqa: BLE001 (it is raised again, without the group around it)
        first: BaseException = failures
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None


async def _ask_all(
    asker: Asker, items: Sequence[Item], expert: str, settings: Settings, step: Step, collected: Collected
) -> None:
    in_a_row = 0
    max_tokens, temperature = settings.max_tokens, settings.temperature

    async def ask(numbered: tuple[int, Item]) -> None:
        nonlocal in_a_row
        index, item = numbered
        try:
            known = asker.remembered(expert, item, max_tokens=max_tokens, temperature=temperature)
            if known is not None:
                collected.said[index, expert] = known
            elif not collected.budget_spent and in_a_row < GIVE_UP_AFTER:
                said = await asker.answer(expert, item, max_tokens=max_tokens, temperature=temperature)
                collected.said[index, expert] = said
                in_a_row = 0
            elif not collected.budget_spent:
                collected.failed[expert] += 1  # given up, which it is told of
        except BudgetSpent:
            collected.budget_spent = True
        except LabelError:
            raise
        except SwitchyardError as error:
            in_a_row += 1
            collected.failed[expert] = collected.failed.get(expert, 0) + 1
            collected.reasons.setdefault(expert, error.message)
        step()

    await each(enumerate(items), ask, at_once=asker.at_once(expert))


def _grouped(
    specs: Mapping[str, ExpertBase], experts: Sequence[str]
) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """The experts that need no weights here, and those that do, by the host of the weights."""
    remote: dict[str, tuple[str, ...]] = {}
    resident: dict[str, tuple[str, ...]] = {}
    for expert in experts:
        host = specs[expert].host
        groups = resident if specs[host].holds_weights else remote
        groups[host] = (*groups.get(host, ()), expert)
    return list(remote.values()), list(resident.values())
