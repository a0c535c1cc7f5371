"""Every task by how it is written on the command line.

    load_tasks(["arithmetic", "gsm8k=test.jsonl", "mtbench:gpt-large=question.jsonl", "scifact@beir=data/scifact"])

A shipped task by its name; a format, or a reward of `switchyard label`, with a file (or a folder): `FORMAT=PATH`, and where a
judge is needed `FORMAT:JUDGE=PATH`. Two tasks of one format take names: `NAME@FORMAT=PATH`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from evals.tasks.base import Task
from evals.tasks.judged import alpaca_eval, mt_bench
from evals.tasks.published import arc, gsm8k, human_eval, mmlu_pro, queries
from evals.tasks.retrieval import beir
from evals.tasks.shipped import SHIPPED, shipped
from orchestrator.errors import DataError
from orchestrator.labelling.registry import GRADERS

FORMATS: dict[str, Callable[[str, Path], Task]] = {
    "gsm8k": gsm8k,
    "mmlu-pro": mmlu_pro,
    "arc": arc,
    "humaneval": human_eval,
    "beir": beir,
}
JUDGED: dict[str, Callable[..., Task]] = {"mtbench": mt_bench, "alpacaeval": alpaca_eval}


def task_names() -> str:
    """All of them, as they are written."""
    files = [*(f"{name}=PATH" for name in FORMATS), *(f"{name}:JUDGE=PATH" for name in JUDGED), "REWARD=QUERIES.jsonl"]
    return ", ".join([*SHIPPED, *files])


def load_tasks(written: Sequence[str]) -> tuple[Task, ...]:
    """Raises `DataError` or `LabelError` for what is no task, can't be read, or has another's name."""
    tasks = tuple(load_task(each) for each in written)
    names = [task.name for task in tasks]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"two tasks are called '{twice}'; expected NAME@FORMAT=PATH for one of them")
    return tasks


def load_task(written: str) -> Task:
    what, equals, path = written.partition("=")
    if not equals and written in SHIPPED:
        return shipped(written)
    name, at, kind = what.rpartition("@")
    name = name if at else kind.partition(":")[0]
    form, colon, judge = kind.partition(":")
    if path and form in FORMATS and not colon:
        return FORMATS[form](name, Path(path))
    if path and form in JUDGED and judge:
        return JUDGED[form](name, Path(path), judge=judge)
    if path and form in GRADERS:
        return queries(name, Path(path), reward=kind)
    raise DataError(f"'{written}' is no task; expected one of {task_names()}")
