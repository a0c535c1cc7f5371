"""`switchyard batch`: a file of requests, answered by the fleet with as few loads as there are experts.

    switchyard batch in.jsonl -o out.jsonl
    switchyard batch in.jsonl -o out.jsonl --capacity gpt-large=200
    switchyard batch in.jsonl -o out.jsonl --engine ray         # by the experts of every node of a cluster

Lines are those of OpenAI's batch API. Not here: the work itself (`orchestrator/bulk/`).
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.engines import EngineOption, chosen_engine, running_on
from orchestrator.commands.failing import resumable
from orchestrator.commands.options import ConfigOption, JsonOption
from orchestrator.commands.progress import progress_bar

if TYPE_CHECKING:
    from orchestrator.bulk.files import Report


def batch(
    requests: Annotated[Path, typer.Argument(metavar="IN.jsonl", help="One request a line, as for OpenAI's batches.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT.jsonl", help="The file of answers to write.")],
    config: ConfigOption = None,
    engine: EngineOption = None,
    capacity: Annotated[
        list[str] | None,
        typer.Option(metavar="EXPERT=N", help="How many of the lines for policies it may have. May be given again."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Answer every request of a file, loading each expert once. Run again, it goes on where it stopped."""
    from orchestrator.fleet.configfile import find_config

    with resumable(f"what was answered is kept in {out}.journal"):
        places = dict(map(_place, capacity or ()))
        report = asyncio.run(_run(find_config(config), requests, out, engine, places, quiet=as_json))
    _print_report(report, as_json=as_json)
    if report.failed:
        raise typer.Exit(1)


def _place(written: str) -> tuple[str, int]:
    expert, _, number = written.rpartition("=")
    if not expert or not number.isdecimal():
        raise typer.BadParameter(f"expected EXPERT=N, got {written!r}", param_hint="--capacity")
    return expert, int(number)


async def _run(
    config_path: Path, requests: Path, out: Path, engine: str | None, places: dict[str, int], *, quiet: bool
) -> Report:
    from orchestrator.bulk.files import answer_file

    async with running_on(chosen_engine(engine, config_path), config_path) as service:
        with progress_bar(quiet=quiet) as progress:
            return await answer_file(
                service, requests, out, lambda done, total: progress("answering", done, total), places
            )


def _print_report(report: Report, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.to_json(), ensure_ascii=False))
        return
    loads = ", ".join(f"{expert} {count}" for expert, count in report.loads.items()) or "none"
    typer.echo(
        f"wrote {report.total} lines to {report.out}: {report.completed} answered, {report.failed} failed; "
        f"{report.asked} asked now, in {report.seconds:.1f} s; {report.cost_usd:.4f} USD in all; loads: {loads}"
    )
    if report.failed:
        typer.echo("note: run again, the lines that failed are tried again", err=True)
