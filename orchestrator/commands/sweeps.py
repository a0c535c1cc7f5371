"""What `switchyard bench` makes of its options: a plan of a sweep, the sweep and its files, and what is said of it.

    plan = SweepPlan(data=data_sets(["mine.jsonl"], 5, None), routers=router_types("auto,knn"))
    print_sweep(swept(plan, Path("out"), 2, "local", quiet=True))

Raises `DataError` for options that mean nothing. Not here: the options themselves (`bench.py`), sweeps (`evals/sweeps/`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from orchestrator.commands.progress import progress_bar
from orchestrator.commands.tables import print_table
from orchestrator.errors import DataError

if TYPE_CHECKING:
    from evals.sweeps.datasets import DataSet
    from evals.sweeps.nouns import Row, Sweep
    from evals.sweeps.running import Engine, SweepPlan
    from evals.sweeps.summary import SummaryLine


def swept(plan: SweepPlan, out: Path, workers: int, engine: Engine, *, quiet: bool) -> Sweep:
    """The sweep, and the files that are made of it."""
    from evals.files import write_whole
    from evals.reports.appendix import appendix
    from evals.reports.writing import write_report
    from evals.sweeps.running import run_sweep
    from evals.sweeps.table import sweep_table

    with progress_bar(quiet=quiet) as progress:
        sweep = run_sweep(plan, out, workers=workers, engine=engine, progress=progress)
        progress("writing the report", 0, 0)
        write_report(sweep, out)
    write_whole(out / "table.md", lambda file: file.write(sweep_table(sweep.rows).encode()))
    write_whole(out / "advice.md", lambda file: file.write(appendix(sweep).encode()))
    return sweep


def data_sets(names: Sequence[str], folds: int, adversaries: str | None) -> tuple[DataSet, ...]:
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


def router_types(listed: str | None) -> tuple[str, ...]:
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


def parse_lambdas(listed: str) -> tuple[float, ...]:
    """Rising, from 0, because every metric has a value at lambda 0."""
    try:
        found = {float(text) for text in listed.split(",")}
    except ValueError:
        raise DataError(f"--lambdas: got '{listed}', expected numbers, as in 0,0.1,1") from None
    if not all(0.0 <= value < float("inf") for value in found):
        raise DataError(f"--lambdas: got '{listed}', expected numbers from 0 up")
    return tuple(sorted({0.0, *found}))


def parse_worth(usd_per_unit: float | None) -> float | None:
    if usd_per_unit is not None and not 0.0 < usd_per_unit < float("inf"):
        raise DataError(f"--usd-per-unit: got {usd_per_unit:g}, expected a number above 0")
    return usd_per_unit


def parse_fleets(given: Sequence[str]) -> dict[str, tuple[str, ...]]:
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


def print_sweep(sweep: Sweep) -> None:
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


def require_no_worse(sweep: Sweep, plan: SweepPlan, before: Sequence[Row], baseline: str) -> None:
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
