"""`switchyard label`: experts over queries in bulk, scored, as an outcome file.

    switchyard label --queries Q.jsonl --reward numeric --experts calculator,smollm2 --out O.jsonl

Not here: the work itself (`orchestrator/labelling/`).
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.commands.engines import EngineOption, chosen_engine, running_on
from orchestrator.commands.failing import resumable
from orchestrator.commands.options import ConfigOption, JsonOption
from orchestrator.commands.tables import print_table
from orchestrator.errors import LabelError

if TYPE_CHECKING:
    from orchestrator.labelling.report import Report
    from orchestrator.labelling.run import Job, Watch


def label(
    queries: Annotated[Path, typer.Option(metavar="Q.jsonl", help="One query a line, with what its reward needs.")],
    reward: Annotated[
        str,
        typer.Option(
            help="exact, numeric, choice, contains, regex, json_schema, code, similarity:EXPERT, judge:EXPERT, "
            "pairwise:EXPERT, model:ID or dmoerm:EXPERT."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="O.jsonl", help="The outcome file to write (.jsonl or .jsonl.gz).")],
    experts: Annotated[str | None, typer.Option(metavar="A,B", help="Default: all that answer in text.")] = None,
    max_cost_usd: Annotated[
        float | None, typer.Option(min=0.0, help="Stop before the output costs more in all.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="The longest answer that is asked for.")] = 1024,
    temperature: Annotated[float | None, typer.Option(min=0.0, max=2.0, help="Default: each expert's own.")] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="W.json", help="For dmoerm: {category: {capability: weight}}.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(metavar="P.jsonl", help="For dmoerm: query, chosen, rejected, to learn weights from.")
    ] = None,
    config: ConfigOption = None,
    engine: EngineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run experts over queries, score their answers, and write an outcome file. Run again, it goes on where it stopped."""
    from orchestrator.fleet.configfile import find_config
    from orchestrator.labelling.collecting import Settings
    from orchestrator.labelling.run import Job

    job = Job(
        queries=queries,
        reward=reward,
        out=out,
        experts=None if experts is None else tuple(name.strip() for name in experts.split(",")),
        settings=Settings(max_tokens, temperature),
        max_cost_usd=max_cost_usd,
        weights={} if weights is None else _read_weights(weights),
        pairs=pairs,
    )
    with resumable(f"what was answered is kept in {out}.journal"):
        report = asyncio.run(_run(find_config(config), engine, job))
    _print_report(report, as_json=as_json)
    if not report.num_written:
        raise typer.Exit(1)


async def _run(config_path: Path, engine: str | None, job: Job) -> Report:
    from orchestrator.labelling.run import label as run

    async with running_on(chosen_engine(engine, config_path), config_path) as service:
        with watching() as watch:
            return await run(service, job, watch)


@contextmanager
def watching() -> Iterator[Watch]:
    """Bars on stderr, one a stage, with what everything has cost so far; nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[cost]}"))
    with Progress(
        *columns, TimeRemainingColumn(), console=Console(stderr=True), disable=not sys.stderr.isatty()
    ) as progress:
        tasks: dict[str, Any] = {}

        def watch(stage: str, done: int, total: int, cost_usd: float) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total, cost="")
            progress.update(tasks[stage], completed=done, cost=f"{cost_usd:.4f} USD")

        yield watch


def _read_weights(path: Path) -> dict[str, dict[str, float]]:
    try:
        weights = json.loads(path.read_bytes())
        return {category: {name: float(value) for name, value in row.items()} for category, row in weights.items()}
    except OSError as exc:
        raise LabelError(f"{path}: can't be read: {exc.strerror}") from exc
    except (ValueError, TypeError, AttributeError) as exc:
        raise LabelError(f"{path}: expected {{category: {{capability: weight}}}} as JSON ({exc})") from exc


def _print_report(report: Report, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.to_json(), ensure_ascii=False))
    else:
        rows = [
            (
                row.expert,
                "" if row.reward is None else f"{row.reward:.3f}",
                *(row.num_graded, row.num_unusable, row.num_failed, f"{row.cost_usd:.4f}"),
            )
            for row in report.experts
        ]
        print_table(("expert", "reward", "graded", "unusable", "failed", "USD"), rows)
        verb = f"wrote {report.num_written} of {report.num_queries} queries to {report.out}"
        written = verb if report.num_written else f"nothing to write to {report.out}"
        typer.echo(f"{written}; {report.num_asked} calls, {report.cost_usd:.4f} USD in all")
    for note in report.notes():
        typer.echo(f"note: {note}", err=True)
