"""The benchmarks of the scheduler, as commands: `python -m evals.bench scenarios`.

    for command in COMMANDS:
        app.command()(command)

Not here: what they measure, each in a module of its own; the other commands (`bench.py`); how long a decision takes
(`bench_scheduler.py`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from evals.bench_output import AsJson, Data, data_folder, show

Plot = Annotated[Path | None, typer.Option("--plot", metavar="F.png", help="Where to draw it.")]


def swaps(
    requests: Annotated[int, typer.Option(min=1, help="Queries.")] = 400,
    rate: Annotated[float, typer.Option(min=0.01, help="Of them a second, on average.")] = 4.0,
    policies: Annotated[list[str], typer.Option("--policy", help="In this order.")] = ["switchyard", "lru", "fifo"],  # noqa: B006
    data: Data = None,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Real queries to eight real models, two of which fit into memory: under several policies, and as one batch."""
    from evals.simulation.figures import save_swaps
    from evals.swaps.running import bench_swaps

    rows = list(bench_swaps(data_folder(data), requests=requests, rate=rate, policies=policies))
    if plot is not None:
        save_swaps(rows, plot)
    show(rows, as_json)


def choice(
    requests: Annotated[int, typer.Option(min=1, help="Queries.")] = 400,
    rate: Annotated[float, typer.Option(min=0.01, help="Of them a second, on average.")] = 4.0,
    mus: Annotated[list[float], typer.Option("--mu", min=0, help="Reward given up per second of wait.")] = [  # noqa: B006
        0.001,
        0.003,
    ],
    data: Data = None,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Expert and memory decided together, or one after the other: real queries, eight real models, two of which fit."""
    from evals.claims.held_out import claim_encoder
    from evals.simulation.figures import save_choice
    from evals.swaps.choosing import bench_choice

    rows = list(bench_choice(data_folder(data), claim_encoder(), requests=requests, rate=rate, mus=mus))
    if plot is not None:
        save_choice(rows, plot)
    show(rows, as_json)


def joint(
    data: Data = None,
    only: Annotated[list[str] | None, typer.Option(help="Only these workloads. Default: all.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of arrivals and queries.")] = 4,
    requests: Annotated[int, typer.Option(min=100, help="Of each draw.")] = 4000,
    mus: Annotated[
        list[float] | None,
        typer.Option("--mu", min=0, help="Reward given up per second of wait. Default: five of them."),
    ] = None,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """What it is worth that the scheduler chooses the expert, beside the same router and then the same scheduler, as Markdown."""
    from evals.bench_joint import MUS, bench_joint, joint_table
    from evals.claims.held_out import claim_encoder
    from evals.simulation.figures import save_frontier

    folder, encoder = data_folder(data), claim_encoder()
    rows = list(bench_joint(folder, encoder, only=only or (), mus=mus or MUS, seeds=seeds, requests=requests))
    if plot is not None:
        save_frontier(rows, plot)
    if as_json:
        show(rows, as_json)
    else:
        sys.stdout.write(joint_table(rows))


def placement(
    experts: Annotated[int, typer.Option(min=2, help="How many.")] = 16,
    nodes: Annotated[int, typer.Option(min=2, help="How many, on two sites.")] = 4,
    memory: Annotated[float, typer.Option(min=0.01, help="Of all nodes, as a multiple of all experts'.")] = 1.3,
    windows: Annotated[int, typer.Option(min=2, help="Hours of traffic that drifts.")] = 12,
    seeds: Annotated[int, typer.Option(min=1, help="Worlds.")] = 3,
    time_limit_s: Annotated[float, typer.Option(min=0.1, help="To look for each placement.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Experts placed again as traffic drifts, beside placements that stay: load of the busiest node, and what was moved."""
    from evals.placement import bench_placement
    from orchestrator.commands.quiet import c_output_to_stderr

    with c_output_to_stderr():
        rows = list(bench_placement(experts, nodes, memory, windows, seeds=seeds, time_limit_s=time_limit_s))
    show(rows, as_json)


def bound(
    experts: Annotated[list[int] | None, typer.Option(min=1, help="Of an instance. Default: 6 and 16.")] = None,
    requests: Annotated[int, typer.Option(min=1, help="Of an instance.")] = 200,
    seeds: Annotated[int, typer.Option(min=1, help="Instances of each number of experts.")] = 3,
    time_limit_s: Annotated[float, typer.Option("--time-limit-s", min=0, help="Of the solver, for an instance.")] = 600,
    as_json: AsJson = False,
) -> None:
    """What every policy's waiting and swapping cost above a proved lower bound, on small instances."""
    from evals.bench_bound import bench_bound

    show(bench_bound(experts=experts or (6, 16), requests=requests, seeds=seeds, time_limit_s=time_limit_s), as_json)


def scenarios(
    only: Annotated[list[str] | None, typer.Option(help="Only these scenarios. Default: all ten.")] = None,
    requests: Annotated[int, typer.Option(min=100, help="Of each seed.")] = 3000,
    seeds: Annotated[int, typer.Option(min=2, help="Draws of the requests, the same for every policy.")] = 5,
    workers: Annotated[int, typer.Option(min=1, help="Processes to simulate in.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Our scheduler beside the best of the others on ten simulated machines, requests served and their p99, as Markdown."""
    from evals.simulation.comparison import compare_scenarios, scenario_table
    from evals.simulation.scenarios import SCENARIOS

    rows = list(compare_scenarios(only or SCENARIOS, requests=requests, seeds=seeds, workers=workers))
    if as_json:
        show(rows, as_json)
    else:
        sys.stdout.write(scenario_table(rows))


COMMANDS = (swaps, choice, joint, placement, bound, scenarios)
