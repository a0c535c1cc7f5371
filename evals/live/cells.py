"""One model on one item, and every pair of the two: asked model by model, so that each is loaded once, then graded.

    cells = await ask_all(gateway, tasks, ["auto", "smollm2"], concurrency=4, progress=progress)
    cells = await grade_all(cells, graders, progress)

A model that can't be asked is an error of that item alone; after `GIVE_UP_AFTER` in a row it is asked no more of that task. Only
a gateway that is gone, or a journal that can't be written, ends everything. Not here: what is kept (`gateway.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from evals.live.gateway import Gateway, Model
from evals.live.http import GatewayGone
from evals.tasks.base import Ask, Grade, Said, Task, TaskItem
from orchestrator.errors import GatewayError, LabelError, SwitchyardError
from orchestrator.labelling.collecting import GIVE_UP_AFTER, Step, each
from routers.training.judging import Progress

_GRADED_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Cell:
    """said: one a turn. error: why there is nothing said. reward: 0..1, 0 for an error; None until, or unless, it is graded."""

    task: Task
    item: TaskItem
    model: Model
    said: tuple[Said, ...] = ()
    error: str | None = None
    reward: float | None = None

    @property
    def is_unusable(self) -> bool:
        return self.error is None and self.said[-1].text is None

    @property
    def answer(self) -> str | None:
        """All turns' texts; None for an answer that can't be used."""
        return None if self.error or self.is_unusable else "\n\n".join(each.text or "" for each in self.said)

    @property
    def expert(self) -> str | None:
        """Who answered first."""
        return self.said[0].expert if self.said else None

    @property
    def cost_usd(self) -> float:
        return sum(each.cost_usd for each in self.said)

    @property
    def latency_s(self) -> float:
        return sum(each.measured.latency_s for each in self.said)


async def ask_all(
    gateway: Gateway, tasks: Sequence[Task], models: Sequence[Model], *, concurrency: int, progress: Progress
) -> list[Cell]:
    """Every model on every item of the tasks that are for it, in their order."""
    pairs = [(model, task) for model in models for task in tasks if fits(model, task)]
    total, cells = sum(len(task.items) for _, task in pairs), list[Cell]()
    for model, task in pairs:
        step = partial(_step, progress, f"{task.name}: {model.id}", itertools.count(len(cells) + 1), total)
        cells += await _Asking(gateway, task, model, step).ask_all(concurrency)
    return cells


def fits(model: Model, task: Task) -> bool:
    """Experts are for tasks of their kind, panels for chat, policies for all."""
    return model.kind in (task.kind, "policy") or (model.kind == "panel" and task.kind == "chat")


async def grade_all(cells: Sequence[Cell], graders: Mapping[str, Grade], progress: Progress) -> list[Cell]:
    """The same cells with their rewards; those that the judge can't be asked about, or says nothing of, stay without."""
    graded = list(cells)
    done = 0

    async def grade(index: int) -> None:
        nonlocal done
        cell = cells[index]
        graded[index] = replace(cell, reward=await _reward(cell, graders[cell.task.name]))
        done += 1
        progress("grading", done, len(cells))

    await each(range(len(cells)), grade, at_once=_GRADED_AT_ONCE)
    return graded


def _step(progress: Progress, stage: str, done: Iterator[int], total: int) -> None:
    progress(stage, next(done), total)


class _Asking:
    """A model under a task. step: called for every item."""

    def __init__(self, gateway: Gateway, task: Task, model: Model, step: Step) -> None:
        self._gateway = gateway
        self._task = task
        self._model = model
        self._step = step
        self._ask: Ask | None = None
        self._in_a_row = 0
        self._reason = ""

    async def ask_all(self, concurrency: int) -> list[Cell]:
        """Every item, in the task's order."""
        cells: dict[str, Cell] = {}

        async def ask(item: TaskItem) -> None:
            cells[item.id] = await self._asked(item)
            self._step()

        await self._begin()
        await each(self._task.items, ask, at_once=concurrency)
        return [cells[item.id] for item in self._task.items]

    async def _begin(self) -> None:
        try:
            self._ask = await self._task.begin(self._model.id, self._gateway)
        except GatewayGone:
            raise
        except GatewayError as error:
            self._reason = error.message

    async def _asked(self, item: TaskItem) -> Cell:
        cell = Cell(self._task, item, self._model)
        if self._ask is None or self._in_a_row >= GIVE_UP_AFTER:
            return replace(cell, error=self._reason, reward=0.0)
        try:
            said = await self._ask(item)
        except GatewayGone:
            raise
        except GatewayError as error:
            self._in_a_row += 1
            self._reason = error.message
            return replace(cell, error=error.message, reward=0.0)
        self._in_a_row = 0
        return replace(cell, said=said)


async def _reward(cell: Cell, grade: Grade) -> float | None:
    if cell.error is not None:
        return cell.reward
    try:
        return await grade(cell.item, cell.said)
    except (GatewayGone, LabelError):
        raise
    except SwitchyardError:
        return None
