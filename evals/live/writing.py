"""The files of a live sweep: every answer as Parquet, the table as Markdown, and outcomes that routers are trained on.

    write_all(Path("out"), cells, rows, total_usd=0.03)
    # live.parquet  live.md  outcomes.jsonl  (outcomes-embedding.jsonl where there were retrieval tasks)

Outcomes are of experts that were asked by name. An error is an expert that was not tried; an answer that can't be used was tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evals.files import write_whole
from evals.live.cells import Cell
from evals.live.rows import LiveRow, live_table
from evals.markdown import markdown_table
from evals.tasks.base import TaskKind
from routers.base import Outcome
from routers.data.outcomes import write_outcomes
from routers.data.parquet import pyarrow


def write_all(out: Path, cells: Sequence[Cell], rows: Sequence[LiveRow], *, total_usd: float) -> None:
    """total_usd: what everything in the folder has cost. Each file appears whole or not at all."""
    kinds: dict[TaskKind, str] = {"chat": "outcomes.jsonl", "embedding": "outcomes-embedding.jsonl"}
    for kind, name in kinds.items():
        if any(cell.task.kind == kind for cell in cells):
            write_outcomes(out / name, outcomes_of(cells, kind))
    write_whole(out / "live.md", lambda file: file.write(_markdown(rows, total_usd).encode()))
    pa = pyarrow()
    table = pa.Table.from_pylist([_record(cell) for cell in cells], schema=_schema(pa))
    write_whole(out / "live.parquet", lambda file: pa.parquet.write_table(table, file))


def outcomes_of(cells: Sequence[Cell], kind: TaskKind) -> Iterator[Outcome]:
    """One a query, in the order of the cells; the group is the task, with the item's own where it has one."""
    by_query: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.task.kind == kind and cell.model.is_expert and cell.error is None and cell.reward is not None:
            by_query.setdefault(f"{cell.task.name}/{cell.item.id}", []).append(cell)
    for id_, each in by_query.items():
        item, task = each[0].item, each[0].task.name
        yield Outcome(
            query=item.query,
            rewards={cell.model.id: cell.reward for cell in each if cell.reward is not None},
            id=id_,
            group=task if item.group in (None, task) else f"{task}/{item.group}",
            costs={cell.model.id: cell.cost_usd for cell in each},
            answers={cell.model.id: cell.answer for cell in each},
            target=item.target,
        )


def _record(cell: Cell) -> dict[str, Any]:
    measured = [each.measured for each in cell.said]
    return {
        "task": cell.task.name,
        "item": cell.item.id,
        "group": cell.item.group,
        "model": cell.model.id,
        "query": cell.item.query,
        "answer": cell.answer,
        "reward": cell.reward,
        "expert": cell.expert,
        "error": cell.error,
        "cost_usd": cell.cost_usd,
        "latency_s": cell.latency_s,
        "ttft_s": measured[0].ttft_s if measured else None,
        "overhead_ms": sum(each.overhead_ms for each in measured),
        "wait_ms": sum(each.wait_ms for each in measured),
        "prompt_tokens": sum(each.prompt_tokens for each in measured),
        "completion_tokens": sum(each.completion_tokens for each in measured),
        "calls": sum(each.calls for each in measured),
    }


def _schema(pa: Any) -> Any:
    texts = ("task", "item", "group", "model", "query", "answer")
    numbers = (
        "cost_usd",
        "latency_s",
        "ttft_s",
        "overhead_ms",
        "wait_ms",
        "prompt_tokens",
        "completion_tokens",
        "calls",
    )
    fields = [*((name, pa.string()) for name in texts), ("reward", pa.float64())]
    fields += [("expert", pa.string()), ("error", pa.string()), *((name, pa.float64()) for name in numbers)]
    return pa.schema(fields)


def _markdown(rows: Sequence[LiveRow], total_usd: float) -> str:
    columns, lines = live_table(rows)
    errors = [
        f"- {row.task}, {row.model}: {row.errors} errors, the first: {row.first_error}" for row in rows if row.errors
    ]
    parts = [
        "# Live sweep",
        markdown_table(columns, lines),
        "Gain: over the best single expert of the sweep on the same items, paired. An error earns 0, as does an answer that "
        f"can't be used. Everything in this folder has cost {total_usd:.4f} USD, judges included.",
        "\n".join(errors),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"
