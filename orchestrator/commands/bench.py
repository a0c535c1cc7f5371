"""`switchyard bench`: routers in every setting that was asked for, every metric, one report.

    switchyard bench --data mine.jsonl --routers auto,cluster --seeds 3 --out sweep
    switchyard bench --out sweep                      # the named data sets of $SWITCHYARD_DATA, every router that learns
    switchyard bench --live --tasks arithmetic,gsm8k=test.jsonl --models auto,panel/council --out live

Running it again with the same `--out` measures only what is new. Not here: sweeps (`evals/sweeps/`), reports (`evals/reports/`),
tasks and what asks a gateway (`evals/tasks/`, `evals/live/`).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.failing import resumable, told
from orchestrator.commands.options import ConfigOption, JsonOption, UrlOption
from orchestrator.commands.progress import progress_bar
from orchestrator.commands.tables import print_table
from orchestrator.errors import DataError

if TYPE_CHECKING:
    from evals.sweeps.datasets import DataSet
    from evals.sweeps.nouns import Row, Sweep
    from evals.sweeps.running import SweepPlan
    from evals.sweeps.summary import SummaryLine


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
    engine: Annotated[Engine, typer.Option(help="Where routers are fitted.")] = Engine.LOCAL,
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
        _bench_live(out, tasks, models, limit, concurrency, _gateway(url, config), as_json=as_json)
        return
    from evals.sweeps.running import SweepPlan
    from evals.sweeps.storing import read_rows, row_json

    with told(), resumable(f"what was measured is kept in {out}"):
        before = None if baseline is None else read_rows(baseline)
        plan = SweepPlan(
            data=_data_sets([*(data or ()), *(more or ())], folds, adversaries),
            routers=_routers(routers),
            seeds=seeds,
            lambdas=None if lambdas is None else _lambdas(lambdas),
            fleets=_fleets(fleets or ()),
            features=features,
            config=config,
            usd_per_unit=_worth(usd_per_unit),
            paraphrases=paraphrases,
        )
        sweep = _swept(plan, out, workers or os.cpu_count() or 1, engine, quiet=as_json)
    if as_json:
        typer.echo(json.dumps([row_json(row) for row in sweep.rows]))
    else:
        _print(sweep)
        typer.echo(f"wrote {out / 'report.html'}, and beside it table.md and advice.md")
    if before is not None:
        _require_no_worse(sweep, plan, before, str(baseline))


def _swept(plan: SweepPlan, out: Path, workers: int, engine: Engine, *, quiet: bool) -> Sweep:
    """The sweep, and the files that are made of it."""
    from evals.files import write_whole
    from evals.reports.appendix import appendix
    from evals.reports.writing import write_report
    from evals.sweeps.running import run_sweep
    from evals.sweeps.table import sweep_table

    with progress_bar(quiet=quiet) as progress:
        sweep = run_sweep(plan, out, workers=workers, engine=engine.value, progress=progress)
        progress("writing the report", 0, 0)
        write_report(sweep, out)
    write_whole(out / "table.md", lambda file: file.write(sweep_table(sweep.rows).encode()))
    write_whole(out / "advice.md", lambda file: file.write(appendix(sweep).encode()))
    return sweep


def _bench_live(
    out: Path, tasks: str | None, models: str | None, limit: int | None, concurrency: int, url: str, *, as_json: bool
) -> None:
    """A table or JSON of what every model earned on every task."""
    from evals.live.rows import live_table
    from evals.live.running import run_live
    from evals.tasks.registry import load_tasks
    from evals.tasks.shipped import SHIPPED

    written = list(SHIPPED) if tasks is None else [name.strip() for name in tasks.split(",")]
    kept = resumable(f"what was answered is kept in {out / 'live.journal'}")
    with told(), kept, progress_bar(quiet=as_json) as progress:
        rows = asyncio.run(
            run_live(
                load_tasks(written),
                url=url,
                key=os.environ.get("SWITCHYARD_API_KEY"),
                models=None if models is None else [name.strip() for name in models.split(",")],
                limit=limit,
                concurrency=concurrency,
                out=out,
                progress=progress,
            )
        )
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows]))
    else:
        print_table(*live_table(rows))
        typer.echo(f"wrote {out / 'live.md'}")


def _gateway(url: str | None, config: Path | None) -> str:
    from orchestrator.client import gateway_url
    from orchestrator.fleet.configfile import find_config, read_config

    return url or gateway_url(read_config(find_config(config)).gateway)


def _data_sets(names: Sequence[str], folds: int, adversaries: str | None) -> tuple[DataSet, ...]:
    """In the order given, each with its attacked versions behind it."""
    from dataclasses import replace

    from evals.adversaries import SCENARIOS
    from evals.sweeps.datasets import file_data_sets, named_data_sets

    files = [Path(name) for name in names if Path(name).exists()]
    others = [name for name in names if not Path(name).exists()]
    found = [*file_data_sets(files, folds)]
    if others or not names:
        found += named_data_sets(_data_folder(others), others)
    scenarios = _listed(adversaries, SCENARIOS, "--adversaries")
    return tuple(
        version for plain in found for version in (plain, *(replace(plain, scenario=name) for name in scenarios))
    )


def _data_folder(missing: Sequence[str]) -> Path:
    """Where named data sets are."""
    wanted = f"{missing[0]}: no such file, and" if missing else "no data: give --data FILE;"
    if not os.environ.get("SWITCHYARD_DATA"):
        raise DataError(f"{wanted} $SWITCHYARD_DATA, where named data sets would be, is not set")
    return Path(os.environ["SWITCHYARD_DATA"]) / "outcomes"


def _routers(listed: str | None) -> tuple[str, ...]:
    from evals.sweeps.measuring import learning_types

    known = learning_types()
    return known if listed is None else _listed(listed, known, "--routers")


def _listed(listed: str | None, known: Collection[str], option: str) -> tuple[str, ...]:
    """Names from `a,b`, or all of them. Raises `DataError` for one that isn't known."""
    if listed is None:
        return ()
    names = tuple(known) if listed == "all" else tuple(dict.fromkeys(name.strip() for name in listed.split(",")))
    if unknown := [name for name in names if name not in known]:
        raise DataError(f"{option}: got '{unknown[0]}', expected some of {', '.join(known)}, or all")
    return names


def _lambdas(listed: str) -> tuple[float, ...]:
    """Rising, from 0, because every metric has a value at lambda 0."""
    try:
        found = {float(text) for text in listed.split(",")}
    except ValueError:
        raise DataError(f"--lambdas: got '{listed}', expected numbers, as in 0,0.1,1") from None
    if not all(0.0 <= value < float("inf") for value in found):
        raise DataError(f"--lambdas: got '{listed}', expected numbers from 0 up")
    return tuple(sorted({0.0, *found}))


def _worth(usd_per_unit: float | None) -> float | None:
    if usd_per_unit is not None and not 0.0 < usd_per_unit < float("inf"):
        raise DataError(f"--usd-per-unit: got {usd_per_unit:g}, expected a number above 0")
    return usd_per_unit


def _fleets(given: Sequence[str]) -> dict[str, tuple[str, ...]]:
    from evals.sweeps.nouns import WHOLE

    found: dict[str, tuple[str, ...]] = {} if given else {WHOLE: ()}
    for text in given:
        name, equals, experts = text.partition("=")
        names = tuple(dict.fromkeys(expert.strip() for expert in experts.split(",") if expert.strip()))
        if not equals or not name or len(names) < 2:
            raise DataError(f"--fleet: got '{text}', expected NAME=a,b with two experts or more")
        if name in found:
            raise DataError(f"--fleet: got two fleets called '{name}', expected a name for each")
        found[name] = names
    return found


def _print(sweep: Sweep) -> None:
    """Every router's gain by data set, and what its author must know."""
    from evals.sweeps.summary import summary

    for title, lines in _by_setting(summary(sweep.rows)):
        typer.echo(f"\n{title}, {lines[0].n:,} queries")
        print_table(
            ("router", "reward", "gain over best single", "95% interval", "p, unadjusted"),
            [
                (
                    line.router,
                    "" if line.reward is None else f"{line.reward:.3f}",
                    f"{line.gain.mean:+.4f}",
                    f"{line.gain.low:+.4f} to {line.gain.high:+.4f}",
                    "" if line.p_value is None else "<0.001" if line.p_value < 0.001 else f"{line.p_value:.3f}",
                )
                for line in lines
            ],
        )
    for note in sweep.notes:
        typer.echo(f"note: {note}")


def _by_setting(lines: Sequence[SummaryLine]) -> Iterator[tuple[str, list[SummaryLine]]]:
    for setting, group in groupby(lines, key=lambda line: line.setting):
        yield setting.title, sorted(group, key=lambda line: -line.gain.mean)


def _require_no_worse(sweep: Sweep, plan: SweepPlan, before: Sequence[Row], baseline: str) -> None:
    """Raises `DataError` that names every router that is significantly worse, or gives nothing where it did."""
    from evals.sweeps.gate import changes, lost

    compared = changes(sweep.rows, before)
    if not compared:
        raise DataError(f"{baseline}: has no router and data set in common with this sweep")
    worse = [
        f"{change.router} on {change.setting.title}: {change.difference:+.4f} (p {change.p_adjusted:.2g})"
        for change in compared
        if change.is_worse
    ]
    worse += [f"{router} on {setting.title}: no result" for setting, router in lost(sweep.rows, before, plan.routers)]
    if worse:
        raise DataError(f"significantly worse than {baseline}: {'; '.join(worse)}")
    typer.echo(f"none of {len(compared)} comparisons with {baseline} is significantly worse", err=True)
