"""The benchmarks of size and of loss, as commands: `python -m evals.bench scale`.

    for command in COMMANDS:
        app.command()(command)

Not here: what they measure, each in a module of its own; the other commands (`bench.py`).
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from evals.bench_output import AsJson, show


def scheduler(
    experts: Annotated[str, typer.Option(help="How many.")] = "1000",
    candidates: Annotated[str, typer.Option(help="Of each request.")] = "1,10",
    nodes: Annotated[
        int, typer.Option(min=1, help="That the experts are spread over, each on up to four of them.")
    ] = 1,
    waiting: Annotated[int, typer.Option(min=0, help="Requests that wait, at any time.")] = 10_000,
    events: Annotated[int, typer.Option(min=100, help="To time, for each number of candidates.")] = 40_000,
    remote: Annotated[bool, typer.Option("--remote", help="Leases over TCP instead, nobody waiting.")] = False,
    gateways: Annotated[str, typer.Option(help="With --remote: connections.")] = "1,4,16",
    seconds: Annotated[float, typer.Option(min=0.1, help="With --remote: per measurement.")] = 5.0,
    as_json: AsJson = False,
) -> None:
    """What one decision of the scheduler takes, by default with 1,000 experts, 100 of them in memory, and 10,000 that wait."""
    from evals.bench_leases import bench_leases
    from evals.bench_scheduler import bench_scheduler

    if remote:
        show(bench_leases(_numbers(gateways), _numbers(candidates), _numbers(experts), nodes, seconds), as_json)
    else:
        show(bench_scheduler(_numbers(experts), max(100, nodes), waiting, _numbers(candidates), nodes, events), as_json)


def scale(
    nodes: Annotated[
        str, typer.Option(help="How many, in this order; the first is what others are measured by.")
    ] = "1,2,4",
    seconds: Annotated[float, typer.Option(min=1, help="Per measurement.")] = 8.0,
    rounds: Annotated[int, typer.Option(min=1, help="Of all measurements, one after the other.")] = 1,
    as_json: AsJson = False,
) -> None:
    """How the rate of answers grows with the nodes of a Ray cluster, which are emulated here; experts only sleep."""
    from evals.bench_scale import bench_scale

    show(bench_scale(_numbers(nodes), seconds, rounds), as_json)


def loss(
    only: Annotated[list[str] | None, typer.Option(help="replica, scheduler or both. Default: all.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Of each, on nodes of its own.")] = 5,
    as_json: AsJson = False,
) -> None:
    """How long nobody is answered after a node was lost: the one with the only replica, the scheduler's, one that is both."""
    from evals.bench_loss import LOSSES, bench_loss

    with redirect_stdout(sys.stderr):  # Ray tells of every node that is lost
        rows = list(bench_loss(only or LOSSES, repeats))
    show(rows, as_json)


def control(
    nodes: Annotated[str, typer.Option(help="How many.")] = "1,4",
    seconds: Annotated[float, typer.Option(min=0.1, help="Per measurement.")] = 3.0,
    as_json: AsJson = False,
) -> None:
    """What Ray must do all the time for gateways and nodes: calls to the scheduler's actor, and the list of nodes."""
    from evals.bench_control import bench_control

    show(bench_control(_numbers(nodes), seconds), as_json)


def ledger(
    url: Annotated[str | None, typer.Option(help="Of a database. Default: SQLite, in a file of its own.")] = None,
    gateways: Annotated[str, typer.Option(help="How many write at once.")] = "1,4",
    decisions: Annotated[int, typer.Option(min=1, max=50_000, help="To store, each time.")] = 20_000,
    as_json: AsJson = False,
) -> None:
    """How many decisions a second one ledger takes."""
    from evals.bench_ledger import bench_ledger

    show(bench_ledger(url, _numbers(gateways), decisions), as_json)


def _numbers(listed: str) -> list[int]:
    return [int(number) for number in listed.split(",")]


COMMANDS = (scheduler, scale, loss, control, ledger)
