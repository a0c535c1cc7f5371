"""`switchyard experts profile`: which expert is best, or their ranking, by as few calls as that takes.

    switchyard experts profile --queries Q.jsonl --reward numeric --budget 500
    switchyard experts profile --aggregate --data O.jsonl --judges small,large --out aggregation.json

Not here: the work itself (`evals/active/`), and what follows `--aggregate` (`aggregation.py`).
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from orchestrator.commands.aggregation import Limits, profile_aggregation
from orchestrator.commands.failing import resumable
from orchestrator.commands.label import watching
from orchestrator.commands.options import ConfigOption, JsonOption
from orchestrator.commands.tables import print_table
from orchestrator.commands.training import listed_names
from orchestrator.errors import LabelError

if TYPE_CHECKING:
    from evals.active.live import Job, Profile, ProfileRow

JournalOption = Annotated[
    Path | None,
    typer.Option(metavar="F", help="Answers are kept here, and never paid for twice. Default: Q.jsonl.journal."),
]
AnswersOption = Annotated[
    Path | None, typer.Option(metavar="O.jsonl", help="Of --aggregate: outcomes with answers and targets.")
]
JudgesOption = Annotated[str | None, typer.Option(metavar="a,b", help="Of --aggregate: the candidates.")]
LimitOption = Annotated[int | None, typer.Option(min=1, help="Of --aggregate: queries at most. Default: 200.")]
AggregationOption = Annotated[
    Path | None, typer.Option(metavar="F.json", help="Of --aggregate: what a panel names as its `aggregation`.")
]


def profile(
    queries: Annotated[
        Path | None, typer.Option(metavar="Q.jsonl", help="One query a line, with what its reward needs.")
    ] = None,
    reward: Annotated[str | None, typer.Option(help="As of `switchyard label`, except pairwise.")] = None,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAMES]...", help="Default: all that answer in text.")
    ] = None,
    goal: Annotated[
        Literal["best", "ranking", "best-by-group"], typer.Option(help="What is to be found out.")
    ] = "best",
    delta: Annotated[float, typer.Option(min=1e-6, max=0.5, help="How likely the verdict may be wrong.")] = 0.05,
    only_these: Annotated[
        bool, typer.Option("--only-these", help="Decide about these queries alone, not all like them: fewer calls.")
    ] = False,
    budget: Annotated[int | None, typer.Option(min=1, help="Calls in all. Default: every expert, every query.")] = None,
    max_cost_usd: Annotated[
        float | None, typer.Option(min=0.0, help="Stop before the journal's calls cost more.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="The longest answer that is asked for.")] = 1024,
    journal: JournalOption = None,
    aggregate: Annotated[
        bool, typer.Option("--aggregate", help="Find out instead who makes one answer of several best.")
    ] = False,
    data: AnswersOption = None,
    judges: JudgesOption = None,
    limit: LimitOption = None,
    out: AggregationOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask experts until it is known which is best, and no longer. Run again, it goes on where it stopped."""
    from evals.active.live import Job
    from orchestrator.fleet.configfile import find_config
    from orchestrator.labelling.collecting import Settings

    if aggregate:
        limits = Limits(limit, max_cost_usd, max_tokens)
        candidates = listed_names(judges) or names
        profile_aggregation(data, out, candidates, limits, journal=journal, config=config, as_json=as_json)
        return
    if any(option is not None for option in (data, judges, limit, out)):
        raise LabelError("--data, --judges, --limit and --out belong to --aggregate")
    if queries is None or reward is None:
        raise LabelError("expected --queries and --reward, or --aggregate")
    job = Job(
        queries=queries,
        reward=reward,
        journal=journal or queries.with_name(f"{queries.name}.journal"),
        experts=tuple(dict.fromkeys(names)) if names else None,
        goal=goal,
        delta=delta,
        finite=only_these,
        budget=budget,
        max_cost_usd=max_cost_usd,
        settings=Settings(max_tokens),
    )
    with resumable(f"what was answered is kept in {job.journal}"):
        found = asyncio.run(_run(find_config(config), job))
    _print(found, as_json=as_json)


async def _run(config_path: Path, job: Job) -> Profile:
    from evals.active.live import run
    from orchestrator.service import running

    async with running(config_path) as service:
        with watching() as watch:
            return await run(service, job, watch)


def _print(found: Profile, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False))
    else:
        columns = ("expert", "calls", "reward", "95% interval", "unusable", "p50 s", "tokens/s", "USD")
        print_table(columns, [_cells(row) for row in found.experts])
        for sentence in found.sentences:
            typer.echo(sentence)
        typer.echo(f"{found.num_calls} calls, {found.num_asked} of them made now; {found.cost_usd:.4f} USD in all")
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)


def _cells(row: ProfileRow) -> tuple[object, ...]:
    reward = "" if row.reward is None else f"{row.reward:.3f}"
    latency = "" if row.latency_p50_s is None else f"{row.latency_p50_s:.3g}"
    tokens = "" if row.tokens_per_s is None else f"{row.tokens_per_s:.3g}"
    within = f"{row.low:.3f} to {row.high:.3f}"
    return row.expert, row.calls, reward, within, row.num_unusable, latency, tokens, f"{row.cost_usd:.4f}"
