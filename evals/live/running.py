"""`switchyard bench --live`: tasks through the policies, panels and experts of a running gateway, graded, counted and compared.

    rows = await run_live(load_tasks(["arithmetic", "gsm8k=test.jsonl"]), url="http://127.0.0.1:8700", key=None, models=None,
                          limit=20, concurrency=4, out=Path("out"), progress=progress)
    print_table(*live_table(rows))

Every answer is in `out/live.journal` as soon as it is there: a run that is stopped goes on where it was, with the same folder. A
journal knows models by name, so models that have changed need another folder (`served.py`). Not here: the terminal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

from evals.live.asks import GatewayAsks
from evals.live.cells import ask_all, fits, grade_all
from evals.live.gateway import Model, connected
from evals.live.rows import LiveRow, live_rows
from evals.live.served import JOURNAL, require_same
from evals.live.writing import write_all
from evals.tasks.base import Task
from orchestrator.errors import DataError, GatewayError, MissingExtra
from orchestrator.labelling.journal import Journal
from routers.data.parquet import pyarrow
from routers.training.judging import Progress, quiet


async def run_live(
    tasks: Sequence[Task],
    *,
    url: str,
    key: str | None,
    models: Sequence[str] | None,
    limit: int | None,
    concurrency: int,
    out: Path,
    progress: Progress = quiet,
) -> tuple[LiveRow, ...]:
    """key: of the gateway. models: None means all that the tasks are for. limit: of items a task. concurrency: items at once.

    Raises `GatewayError` when no gateway answers or a model isn't there, `DataError` or `LabelError` when a task, a judge or
    the folder can't be used, or its answers are of models that have changed since: all of these before anything is asked.
    """
    collection = _prepared(out)
    tasks = [task if limit is None else task.limited(limit) for task in tasks]
    with Journal.open(out / JOURNAL) as journal:
        async with connected(url, key=key, journal=journal, collection=collection) as gateway:
            chosen = _chosen(gateway.models, tasks, models)
            require_same(out, await gateway.served([model.id for model in chosen]))
            asks = GatewayAsks(gateway)
            graders = {task.name: await task.grader(asks) for task in tasks}
            cells = await ask_all(gateway, tasks, chosen, concurrency=concurrency, progress=progress)
            cells = await grade_all(cells, graders, progress)
        rows = live_rows(cells)
        write_all(out, cells, rows, total_usd=journal.cost_usd)
    return rows


def _prepared(out: Path) -> str:
    """Make the folder; what policies embed collections under, another for every folder."""
    try:
        pyarrow()
        out.mkdir(parents=True, exist_ok=True)
    except ImportError as exc:
        raise MissingExtra("a live sweep", "train") from exc
    except OSError as exc:
        raise DataError(f"{out}: can't be made: {exc.strerror}") from exc
    return f"bench-{blake2b(str(out.resolve()).encode(), digest_size=6).hexdigest()}"


def _chosen(models: Mapping[str, Model], tasks: Sequence[Task], named: Sequence[str] | None) -> list[Model]:
    """Raises `GatewayError` for a name that the gateway doesn't have, or a model that no task is for."""
    if named is None:
        return [model for model in models.values() if any(fits(model, task) for task in tasks)]
    for name in named:
        if name not in models:
            raise GatewayError(f"the gateway has no model '{name}'; expected one of {', '.join(models)}")
        if not any(fits(models[name], task) for task in tasks):
            raise GatewayError(f"'{name}' serves {models[name].kind} requests, and none of the tasks is for those")
    return [models[name] for name in dict.fromkeys(named)]
