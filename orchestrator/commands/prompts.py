"""`switchyard prompts build`: a mixture of prompts from queries and their right answers.

    switchyard prompts build --data O.jsonl --out prompts/support --expert smollm2 --reward exact

Not here: the work itself (`orchestrator/mixtures/`), and serving it (`backend: prompts`).
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.failing import resumable, told
from orchestrator.commands.label import watching
from orchestrator.commands.options import ConfigOption, JsonOption
from orchestrator.commands.tables import print_table

if TYPE_CHECKING:
    from orchestrator.mixtures.building import Built, Job

prompts = typer.Typer(help="Mixtures of prompts.", no_args_is_help=True)


@prompts.command()
def build(
    data: Annotated[Path, typer.Option(metavar="O.jsonl", help="Outcomes, or queries with their `target`.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write.")],
    expert: Annotated[
        str | None, typer.Option(metavar="NAME", help="Writes instructions, and is tried with them. Default: nobody.")
    ] = None,
    instructions: Annotated[
        Path | None, typer.Option(metavar="F", help="Instructions to try, one a line; without --expert the only one.")
    ] = None,
    regions: Annotated[int | None, typer.Option(min=1, help="Default: as many as tell the queries apart best.")] = None,
    demonstrations: Annotated[int, typer.Option(min=0, help="How many a query is shown when it is tried.")] = 4,
    candidates: Annotated[int, typer.Option(min=0, help="Instructions that the expert writes for each region.")] = 4,
    reward: Annotated[str, typer.Option(help="As of `switchyard label`.")] = "exact",
    max_calls: Annotated[int, typer.Option(min=1, help="Of the expert, in all.")] = 500,
    max_cost_usd: Annotated[
        float | None, typer.Option(min=0.0, help="Stop before the journal's calls cost more.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="The longest answer that is asked for.")] = 256,
    features: Annotated[
        str | None, typer.Option(help="What texts are read with: hashed, text, an embedding expert, or a+b.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--prompts", metavar="DIR", help="Its default.md and induction.md replace the shipped ones."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cut the query space into regions, and give each its demonstrations and the instruction that earns most there."""
    from orchestrator.labelling.collecting import Settings
    from orchestrator.mixtures.building import Job

    with resumable(f"what was answered is kept in {out}.journal"), told():
        job = Job(
            data=data,
            out=out,
            regions=regions,
            demonstrations=demonstrations,
            instructions=() if instructions is None else _read_lines(instructions),
            expert=expert,
            reward=reward,
            candidates=candidates,
            max_calls=max_calls,
            max_cost_usd=max_cost_usd,
            settings=Settings(max_tokens, 0.0),
            prompts=folder,
        )
        built = asyncio.run(_run(job, features, config))
    _print(built, as_json=as_json)


async def _run(job: Job, features: str | None, config: Path | None) -> Built:
    from orchestrator.fleet.configfile import config_if_any, find_config
    from orchestrator.fleet.encoding import training_encoder
    from orchestrator.mixtures.building import build as run
    from orchestrator.service import running

    if job.expert is None:
        return await run(job, training_encoder(features, *config_if_any(config)))
    path = find_config(config)
    async with running(path) as service:
        with watching() as watch:
            return await run(job, training_encoder(features, service.fleet.config, path.parent), service, watch)


def _read_lines(path: Path) -> tuple[str, ...]:
    lines = tuple(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip())
    if not lines:
        raise ValueError(f"{path}: expected instructions, one a line, got none")
    return lines


def _print(built: Built, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(built), ensure_ascii=False))
    else:
        rows = []
        for region, chosen in zip(built.regions, built.chosen, strict=True):
            rewards = ("", "") if chosen is None else (f"{chosen.default_reward:.3f}", f"{chosen.reward:.3f}")
            rows.append((region.demonstrations, region.validated or "", *rewards, region.instruction))
        print_table(("demonstrations", "tried on", "default", "chosen", "instruction"), rows)
        typer.echo(f"wrote {built.out}; {built.num_asked} calls, {built.cost_usd:.4f} USD in all")
    for note in built.notes:
        typer.echo(f"note: {note}", err=True)
