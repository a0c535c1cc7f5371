"""`switchyard simulate`: the scheduler on a simulated machine, beside what others do, on the same requests.

    switchyard simulate --policy all --experts 16 --slots 2 --rate 3 --seeds 5
    switchyard simulate --trace monday.jsonl.gz --slots 4 --policy switchyard,lru
    switchyard simulate --from-ledger --hours 168 --residency                 # what more slots would have bought
    switchyard simulate --outcomes O.jsonl --slots 2 --rate 3 --mu 0.003       # the policy chooses the expert, rows have rewards

What runs is the scheduler's own code. Not here: the simulator (`evals/simulation/`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.failing import told
from orchestrator.commands.ledgers import ledger_trace
from orchestrator.commands.options import ConfigOption, JsonOption
from orchestrator.commands.progress import progress_bar
from orchestrator.commands.tables import print_table
from orchestrator.commands.training import listed_names
from orchestrator.errors import DataError

if TYPE_CHECKING:
    from evals.simulation.base import Setting, Trace
    from evals.simulation.comparing import Entrant
    from evals.simulation.measures import Row
    from evals.simulation.replay import Replay
    from evals.simulation.workloads import Workload


class Arrivals(StrEnum):
    """How requests come."""

    POISSON = "poisson"
    BURSTY = "bursty"
    DIURNAL = "diurnal"


class Batching(StrEnum):
    """Whether requests join those that run, or start together."""

    TOGETHER = "together"
    CONTINUOUS = "continuous"


_MADE_UP = ("zipf", "drift_s", "session_calls", "session_experts", "think_s")
_TIMED = ("rate", "requests", "arrivals", "burst", "burst_s", "period_s", "seeds", "max_rate")


def simulate(
    context: typer.Context,
    policy: Annotated[
        str | None,
        typer.Option(metavar="a,b", help="Whose rules, or 'all'. Default: all; switchyard with --residency."),
    ] = None,
    experts: Annotated[
        str | None, typer.Option(metavar="N|a,b", help="How many, or which. Default: 16, or all of --outcomes.")
    ] = None,
    slots: Annotated[int, typer.Option(min=1, help="How many of them fit into memory.")] = 2,
    swap_s: Annotated[float, typer.Option(min=0.0, help="To load one.")] = 6.0,
    stop_s: Annotated[float, typer.Option(min=0.0, help="To free its memory.")] = 0.0,
    batch: Annotated[int, typer.Option(min=1, help="Requests that an expert serves at once.")] = 8,
    batch_s: Annotated[float, typer.Option(help="What serving a batch takes.")] = 2.0,
    batching: Annotated[Batching, typer.Option(help="How batches come to be.")] = Batching.TOGETHER,
    slowing: Annotated[
        float, typer.Option(min=0.0, help="By what part each running request slows a new one; continuous batching.")
    ] = 0.0,
    load_failures: Annotated[float, typer.Option(min=0.0, help="The chance that a load fails.")] = 0.0,
    rate: Annotated[float, typer.Option(help="Requests per second.")] = 3.0,
    requests: Annotated[int, typer.Option(min=1, help="How many.")] = 6000,
    zipf: Annotated[float, typer.Option(min=0.0, help="Exponent of the experts' popularity.")] = 1.0,
    arrivals: Annotated[Arrivals, typer.Option(help="How they come.")] = Arrivals.POISSON,
    burst: Annotated[float, typer.Option(min=1.0, help="Rate of bursts, in mean rates.")] = 4.0,
    burst_s: Annotated[float, typer.Option(help="Mean length of a burst.")] = 20.0,
    period_s: Annotated[float, typer.Option(help="A day, of diurnal arrivals.")] = 600.0,
    drift_s: Annotated[float | None, typer.Option(help="After which others are popular. Default: never.")] = None,
    session_calls: Annotated[float, typer.Option(min=1.0, help="Mean requests of a session, in turn.")] = 1.0,
    session_experts: Annotated[int, typer.Option(min=1, help="Experts that a session asks.")] = 2,
    think_s: Annotated[float, typer.Option(min=0.0, help="Mean time from an answer to the next request.")] = 5.0,
    seeds: Annotated[int, typer.Option(min=1, help="How many draws of the requests.")] = 1,
    max_rate: Annotated[
        bool, typer.Option("--max-rate", help="Look for the highest rate with a p99 of at most 120 s, too.")
    ] = False,
    trace: Annotated[Path | None, typer.Option(metavar="F", help="Recorded requests, as JSON lines.")] = None,
    from_ledger: Annotated[
        bool, typer.Option("--from-ledger", help="What the gateway's experts with weights were asked.")
    ] = False,
    hours: Annotated[float, typer.Option(min=0.01, help="Of --from-ledger: the last so many.")] = 24.0,
    outcomes: Annotated[
        Path | None, typer.Option(metavar="O.jsonl", help="Real queries, whose expert the policy chooses.")
    ] = None,
    router: Annotated[str, typer.Option(help="With --outcomes: fitted on queries that are not replayed.")] = "auto",
    mu: Annotated[float, typer.Option(min=0.0, help="With --outcomes: reward given up per second.")] = 0.003,
    residency: Annotated[
        bool, typer.Option("--residency", help="Say how well the requests suit the memory, and what more would buy.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(metavar="F.png", help="Where to draw the rows.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. Default: one a core.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the scheduler, and other systems' rules, on a simulated machine.

    Latencies are from arrival to completion, in simulated seconds; memory is empty at first.
    """
    _refuse_misplaced(context)
    from evals.simulation.base import Setting
    from evals.simulation.comparing import compare
    from evals.simulation.registry import OURS, policy_names
    from evals.simulation.workloads import Workload

    with told(), progress_bar(quiet=as_json) as progress:
        policies = policy_names(policy if policy is not None else OURS if residency else "all")
        workload = Workload(
            requests=requests,
            rate=rate,
            zipf=zipf,
            arrivals=arrivals.value,
            burst=burst,
            burst_s=burst_s,
            period_s=period_s,
            drift_s=drift_s,
            session_calls=session_calls,
            session_experts=session_experts,
            think_s=think_s,
        )
        if trace is not None or from_ledger:
            entrants, names = _recorded(policies, trace, config, hours)
        elif outcomes is not None:
            found = _replays(outcomes, router, config, listed_names(experts) or ())
            entrants, names = _replayed(policies, found, workload, mu)
        else:
            entrants, names = _made_up(policies, workload, experts or "16")
        setting = Setting.even(names, slots, swap_s, batch, batch_s, batching.value, stop_s, slowing, load_failures)
        if residency:
            _print_residency(entrants[0].requests(rate, 0), setting, policies, slots, as_json=as_json)
            return
        num_workers = workers or os.cpu_count() or 1
        rows = compare(
            entrants, setting, rate=rate, seeds=seeds, workers=num_workers, limits=max_rate, progress=progress
        )
    _print_rows(rows, plot, as_json=as_json)


def _refuse_misplaced(context: typer.Context) -> None:
    """Raises `DataError` for an option on the command line that has no meaning beside the others, or without them."""
    given = context.params
    for meaningless, where, parameters in (
        (given["trace"], "with --trace", (*_MADE_UP, *_TIMED, "experts", "outcomes", "from_ledger")),
        (given["from_ledger"], "with --from-ledger", (*_MADE_UP, *_TIMED, "experts", "outcomes")),
        (not given["from_ledger"], "without --from-ledger", ("hours",)),
        (given["outcomes"], "with --outcomes", _MADE_UP),
        (not given["outcomes"], "without --outcomes", ("router", "mu")),
        (not given["outcomes"] and not given["from_ledger"], "without --outcomes or --from-ledger", ("config",)),
        (given["residency"], "with --residency", ("seeds", "max_rate", "plot", "workers")),
        (given["arrivals"] != Arrivals.BURSTY, "without --arrivals bursty", ("burst", "burst_s")),
        (given["arrivals"] != Arrivals.DIURNAL, "without --arrivals diurnal", ("period_s",)),
        (given["session_calls"] == 1, "without --session-calls", ("session_experts", "think_s")),
        (given["batching"] != Batching.CONTINUOUS, "without --batching continuous", ("slowing",)),
    ):
        for parameter in parameters if meaningless else ():
            source = context.get_parameter_source(parameter)
            if source is not None and source.name == "COMMANDLINE":
                raise DataError(f"--{parameter.replace('_', '-')}: has no meaning {where}")


def _recorded(
    policies: Sequence[str], trace: Path | None, config: Path | None, hours: float
) -> tuple[list[Entrant], Sequence[str]]:
    """Who takes part, and the experts' names: by a trace, or by the ledger where there is none."""
    from evals.simulation.entrants import recorded
    from evals.simulation.traces import read_trace

    recording, names = ledger_trace(config, hours) if trace is None else read_trace(trace)
    return recorded(policies, recording), names


def _replayed(
    policies: Sequence[str], found: Sequence[Replay], workload: Workload, mu: float
) -> tuple[list[Entrant], Sequence[str]]:
    from evals.simulation.entrants import replayed

    return replayed(policies, found, workload, mu), found[0].experts


def _made_up(policies: Sequence[str], workload: Workload, written: str) -> tuple[list[Entrant], Sequence[str]]:
    """written: how many experts, or `a,b`."""
    from evals.simulation.entrants import synthetic

    try:
        names: Sequence[str] = [f"expert-{number}" for number in range(int(written))]
    except ValueError:
        names = listed_names(written) or []
    return synthetic(policies, workload, len(names)), names


def _replays(outcomes: Path, router: str, config: Path | None, experts: Sequence[str]) -> Sequence[Replay]:
    """Both halves of the outcomes, each with the scores of a router that was fitted on the other."""
    from evals.simulation.replay import FOLDS, replays
    from evals.sweeps.datasets import DataSet
    from orchestrator.fleet.configfile import config_if_any
    from orchestrator.fleet.encoding import training_encoder

    encoder = training_encoder(None, *config_if_any(config))
    return replays(DataSet(outcomes.name, (outcomes,), folds=FOLDS), router, encoder, experts)


def _print_rows(rows: Sequence[Row], plot: Path | None, *, as_json: bool) -> None:
    """plot: where to draw them, too."""
    from evals.simulation.measures import as_json as row_json
    from evals.simulation.measures import table

    if as_json:
        typer.echo(json.dumps([row_json(row) for row in rows]))
    else:
        print_table(*table(rows))
    if plot is not None:
        from evals.simulation.figures import save_plot

        with told():
            save_plot(rows, plot)


def _print_residency(trace: Trace, setting: Setting, policies: Sequence[str], slots: int, *, as_json: bool) -> None:
    """The metrics of one trace: near requests, then a line a policy and a slot more."""
    from evals.simulation.residency import residency_report

    report = residency_report(trace, setting, policies=policies)
    if as_json:
        typer.echo(json.dumps(asdict(report)))
        return
    best = min(slots, len(setting.experts))
    print_table(
        ("requests in a row", "predictability", "set size", f"served by the best {best}"),
        [
            (near.length, round(near.performance, 3), round(near.set_size, 2), round(near.shares[best - 1], 3))
            for near in report.segments
        ],
    )
    print_table(
        ("slots", "policy", "ready on arrival", "swaps/100", "p99 s"),
        [
            (
                f"{row.slots:g}",
                row.policy,
                "" if row.ready_on_arrival is None else round(row.ready_on_arrival, 3),
                round(row.swaps_per_100, 2),
                _seconds(row.p99_s),
            )
            for row in report.memory
        ],
    )


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
