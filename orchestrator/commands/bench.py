"""`switchyard bench`: routers in every setting that was asked for, every metric, one report.

    switchyard bench --data mine.jsonl --routers auto,cluster --seeds 3 --out sweep
    switchyard bench --out sweep                      # the named data sets of $SWITCHYARD_DATA, every router that learns
    switchyard bench --live --tasks arithmetic,gsm8k=test.jsonl --models auto,panel/council --out live
    switchyard bench --engine ray --out sweep         # fitted by all nodes of a cluster; with --live, answered by its experts

Running it again with the same `--out` measures only what is new. Not here: what its options come to (`sweeps.py`), sweeps
(`evals/sweeps/`), reports (`evals/reports/`), tasks and what asks a gateway (`evals/tasks/`, `evals/live/`).
"""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.engines import own_gateway
from orchestrator.commands.failing import resumable, told
from orchestrator.commands.options import ConfigOption, JsonOption, UrlOption
from orchestrator.commands.progress import progress_bar
from orchestrator.commands.sweeps import (
    data_sets,
    parse_fleets,
    parse_lambdas,
    parse_worth,
    print_sweep,
    require_no_worse,
    router_types,
    swept,
)
from orchestrator.commands.tables import print_table
from orchestrator.errors import DataError

if TYPE_CHECKING:
    from evals.live.rows import LiveRow
    from routers.training.judging import Progress


class Engine(StrEnum):
    """Where work is done."""

    LOCAL = "local"
    RAY = "ray"


def bench(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder for results and report.")],
    more: Annotated[list[str] | None, typer.Argument(metavar="[F...]", help="More data, after --data F.")] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            metavar="F...",
            help="Outcome files, or names of data sets in $SWITCHYARD_DATA. Default: all there.",
        ),
    ] = None,
    routers: Annotated[
        str | None, typer.Option(metavar="a,b", help="Types, as auto,linear,knn. Default: all that learn.")
    ] = None,
    fleets: Annotated[
        list[str] | None, typer.Option("--fleet", metavar="NAME=a,b", help="Only these experts; may be repeated.")
    ] = None,
    lambdas: Annotated[
        str | None, typer.Option(metavar="0,1", help="Reward given up per US cent. Default: ten, from 0 to 100.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How often it is done, with other folds and draws.")] = 1,
    folds: Annotated[int, typer.Option(min=2, help="Of cross-validation, where a file has no split of its own.")] = 5,
    adversaries: Annotated[
        str | None, typer.Option(metavar="a,b", help="Attacks to measure under as well, or 'all'.")
    ] = None,
    features: Annotated[str | None, typer.Option(help="What texts are read with, as of `switchyard train`.")] = None,
    paraphrases: Annotated[
        Path | None, typer.Option(metavar="F", help="JSON lines of query and paraphrase, to see which choices flip.")
    ] = None,
    usd_per_unit: Annotated[float | None, typer.Option(help="What costs are worth that aren't in USD.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. Default: one a core.")] = None,
    engine: Annotated[
        Engine, typer.Option(help="Where routers are fitted. With --live, ray: a cluster's experts are asked.")
    ] = Engine.LOCAL,
    baseline: Annotated[
        Path | None, typer.Option(metavar="P", help="Fail when a router is worse than in this results.parquet.")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Ask a running gateway instead of looking outcomes up.")] = False,
    tasks: Annotated[
        str | None, typer.Option(metavar="a,b=F", help="With --live. Default: all that are shipped.")
    ] = None,
    models: Annotated[
        str | None, typer.Option(metavar="a,b", help="With --live: policies, panel/NAME, experts. Default: all.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="With --live: items of a task.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="With --live: items at once.")] = 4,
    url: UrlOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure routers on outcomes: rewards, costs, every metric of the field, with intervals and a report.

    With --live, measure what a running gateway answers.
    """
    offline: dict[str, object] = {"--data": data or more, "--routers": routers, "--fleet": fleets, "--lambdas": lambdas}
    offline |= {
        "--paraphrases": paraphrases,
        "--adversaries": adversaries,
        "--usd-per-unit": usd_per_unit,
        "--baseline": baseline,
    }
    online: dict[str, object] = {"--tasks": tasks, "--models": models, "--limit": limit, "--url": url}
    if misplaced := [option for option, value in (offline if live else online).items() if value is not None]:
        raise DataError(f"{misplaced[0]}: has no meaning {'with' if live else 'without'} --live")
    if live:
        from orchestrator.fleet.configfile import find_config

        on_cluster = engine is Engine.RAY
        if on_cluster and url is not None:
            raise DataError("--url: has no meaning with --live --engine ray, which asks through a gateway of its own")
        gateway = own_gateway(engine, find_config(config)) if on_cluster else nullcontext(_gateway(url, config))
        _bench_live(out, tasks, models, limit, concurrency, gateway, as_json=as_json)
        return
    from evals.sweeps.running import SweepPlan
    from evals.sweeps.storing import read_rows, row_json

    with told(), resumable(f"what was measured is kept in {out}"):
        before = None if baseline is None else read_rows(baseline)
        plan = SweepPlan(
            data=data_sets([*(data or ()), *(more or ())], folds, adversaries),
            routers=router_types(routers),
            seeds=seeds,
            lambdas=None if lambdas is None else parse_lambdas(lambdas),
            fleets=parse_fleets(fleets or ()),
            features=features,
            config=config,
            usd_per_unit=parse_worth(usd_per_unit),
            paraphrases=paraphrases,
        )
        sweep = swept(plan, out, workers or os.cpu_count() or 1, engine.value, quiet=as_json)
    if as_json:
        typer.echo(json.dumps([row_json(row) for row in sweep.rows]))
    else:
        print_sweep(sweep)
        typer.echo(f"wrote {out / 'report.html'}, and beside it table.md and advice.md")
    if before is not None:
        require_no_worse(sweep, plan, before, str(baseline))


def _bench_live(
    out: Path,
    tasks: str | None,
    models: str | None,
    limit: int | None,
    concurrency: int,
    gateway: AbstractAsyncContextManager[str],
    *,
    as_json: bool,
) -> None:
    """A table or JSON of what every model earned on every task. gateway: its URL, while it is there."""
    from evals.live.rows import live_table
    from evals.live.running import run_live
    from evals.tasks.registry import load_tasks
    from evals.tasks.shipped import SHIPPED

    written = list(SHIPPED) if tasks is None else [name.strip() for name in tasks.split(",")]

    async def run(progress: Progress) -> tuple[LiveRow, ...]:
        async with gateway as url:
            return await run_live(
                load_tasks(written),
                url=url,
                key=os.environ.get("SWITCHYARD_API_KEY"),
                models=None if models is None else [name.strip() for name in models.split(",")],
                limit=limit,
                concurrency=concurrency,
                out=out,
                progress=progress,
            )

    kept = resumable(f"what was answered is kept in {out / 'live.journal'}")
    with told(), kept, progress_bar(quiet=as_json) as progress:
        rows = asyncio.run(run(progress))
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows]))
    else:
        print_table(*live_table(rows))
        typer.echo(f"wrote {out / 'live.md'}")


def _gateway(url: str | None, config: Path | None) -> str:
    from orchestrator.client import gateway_url
    from orchestrator.fleet.configfile import find_config, read_config

    return url or gateway_url(read_config(find_config(config)).gateway)
