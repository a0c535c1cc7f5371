"""`switchyard import`: what other tools' files say, as ours.

    switchyard import litellm config.yaml > experts.yaml
    switchyard import outcomes lm_eval a/samples_gsm8k.jsonl b/samples_gsm8k.jsonl --out gsm8k.jsonl.gz

Not here: how they are read (`orchestrator/fleet/importers.py`, `routers/data/importers/`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.options import JsonOption
from orchestrator.errors import DataError

importers = typer.Typer(help="Fleets and outcomes from the files of other tools.", no_args_is_help=True)


@importers.command()
def litellm(file: Annotated[Path, typer.Argument(help="The config.yaml of LiteLLM's proxy.")]) -> None:
    """Print an experts.yaml; what could not be carried over is told on stderr."""
    from orchestrator.fleet.importers import from_litellm

    text, left_out = from_litellm(file)
    for line in left_out:
        typer.echo(f"left out: {line}", err=True)
    typer.echo(text, nl=False)


@importers.command()
def outcomes(
    format: Annotated[
        str,
        typer.Argument(
            help="auto, llmrouter, routerdc, routerdc-correct, routerdc-confidence, routerbench, routellm, llmrouterbench, "
            "lm_eval, inspect or promptfoo."
        ),
    ],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Rows of one query are merged across files.")],
    out: Annotated[Path, typer.Option("--out", metavar="O", help="To write: .jsonl, .jsonl.gz or .parquet.")],
    as_json: JsonOption = False,
) -> None:
    """Write an outcome file; what was left out is told on stderr."""
    from routers.data.importers.registry import import_outcomes
    from routers.data.outcomes import write_outcomes

    try:
        imported = import_outcomes(format, files)
        write_outcomes(out, imported.outcomes)
    except OSError as exc:
        raise DataError(f"{exc.filename or out}: {exc.strerror}") from exc
    except (ValueError, ImportError) as exc:
        raise DataError(str(exc)) from exc
    num_queries, experts = len(imported.outcomes), imported.experts
    if as_json:
        summary = {"out": str(out), "queries": num_queries, "experts": experts, "repeats": imported.num_repeats}
        typer.echo(json.dumps({**summary, "left_out": imported.left_out}))
        return
    for reason, count in imported.left_out.items():
        typer.echo(f"left out: {count:,} {reason}", err=True)
    if imported.num_repeats:
        typer.echo(f"averaged: {imported.num_repeats:,} repetitions of an expert on a query", err=True)
    typer.echo(f"wrote {num_queries:,} queries with {len(experts)} experts to {out}")
