"""`switchyard experts profile --aggregate`: which experts can make one answer of several, written for `panels.*.aggregation`.

    switchyard experts profile --aggregate --data O.jsonl --judges small,large --out aggregation.json

Not here: the work (`evals/active/aggregating.py`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import typer

from orchestrator.commands.failing import resumable
from orchestrator.commands.label import watching
from orchestrator.commands.tables import print_table
from orchestrator.errors import LabelError

if TYPE_CHECKING:
    from evals.active.aggregating import Abilities, Job


class Limits(NamedTuple):
    """queries: None means as many as are enough for most. max_cost_usd: of all in the journal. max_tokens: of an answer."""

    queries: int | None
    max_cost_usd: float | None
    max_tokens: int


def profile_aggregation(
    data: Path | None,
    out: Path | None,
    judges: Sequence[str] | None,
    limits: Limits,
    *,
    journal: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Ask the candidates, write what they can do, and print it. Raises `LabelError`; nothing is written where nobody answered."""
    from evals.active.aggregating import MAX_QUERIES, Job
    from evals.files import write_whole
    from orchestrator.fleet.configfile import find_config
    from orchestrator.labelling.collecting import Settings

    if data is None or out is None:
        raise LabelError("--aggregate needs --data, outcomes with answers and targets, and --out, the file to write")
    kept = journal or out.with_name(f"{out.name}.journal")
    settings = Settings(limits.max_tokens)
    candidates = None if judges is None else tuple(judges)
    job = Job(data, kept, candidates, limits.queries or MAX_QUERIES, limits.max_cost_usd, settings)
    with resumable(f"what was answered is kept in {job.journal}"):
        found = asyncio.run(_run(find_config(config), job))
    judges = msgspec.to_builtins(found.judges)
    if not judges:
        raise LabelError(f"{out}: is not written, nobody answered; {'; '.join(found.notes)}")
    try:
        write_whole(out, lambda file: file.write(json.dumps({"judges": judges}, indent=1).encode() + b"\n"))
    except OSError as exc:
        raise LabelError(f"{out}: can't be written: {exc.strerror}") from exc
    _print(found, out, as_json=as_json)


async def _run(config_path: Path, job: Job) -> Abilities:
    from evals.active.aggregating import run
    from orchestrator.service import running

    async with running(config_path) as service:
        with watching() as watch:
            return await run(service, job, watch)


def _print(found: Abilities, out: Path, *, as_json: bool) -> None:
    if as_json:
        body = asdict(found) | {"judges": msgspec.to_builtins(found.judges)}
        typer.echo(json.dumps(body, ensure_ascii=False))
    else:
        ranked = sorted(found.judges.items(), key=lambda each: -each[1].accuracy)
        rows = [(name, a.n, f"{a.accuracy:.3f}", f"{a.low:.3f} to {a.high:.3f}") for name, a in ranked]
        print_table(("aggregator", "queries", "right", "95% interval"), rows)
        typer.echo(f"wrote {out}; {found.num_asked} calls made now; {found.cost_usd:.4f} USD in all")
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
