"""`switchyard experts place`: which experts should live on which node of a cluster.

    switchyard experts place --hours 6 --apply              # of the service that runs, by its own traffic
    switchyard experts place cluster.yaml --from-ledger     # of nodes that a file describes

What is applied is written into `experts.yaml` (`placement`), which a service on those nodes follows: every so often by cron, the
plan follows the traffic. Not here: the plan (`orchestrator/scheduler/placement/`), its file (`orchestrator/fleet/planfiles.py`),
and what a service makes of it (`orchestrator/fleet/spreading.py`).
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.commands.failing import told
from orchestrator.commands.options import ConfigOption, JsonOption, UrlOption
from orchestrator.commands.quiet import c_output_to_stderr
from orchestrator.commands.running import admin_url, running_experts
from orchestrator.commands.tables import print_table
from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from orchestrator.scheduler.placement.base import Bools, Problem
    from orchestrator.scheduler.placement.placing import Plan

ClusterArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[CLUSTER.yaml]", help="Nodes, links, experts, where they are. Default: as a gateway says."),
]
LedgerOption = Annotated[
    bool,
    typer.Option("--from-ledger", help="Take experts and traffic from experts.yaml and its ledger, as without a file."),
]
HoursOption = Annotated[float, typer.Option(min=0.01, max=1e6, help="Of the ledger: the last so many.")]
GainOption = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Move nothing for a gain below this share of the cost.")
]
LimitOption = Annotated[float, typer.Option(min=0.1, help="Seconds to look for the best placement.")]
ApplyOption = Annotated[
    bool,
    typer.Option("--apply", help="Write it into experts.yaml, which a running service follows, if it moves anything."),
]


def place(
    cluster: ClusterArgument = None,
    from_ledger: LedgerOption = False,
    hours: HoursOption = 24.0,
    min_gain: GainOption = 0.05,
    time_limit_s: LimitOption = 10.0,
    apply: ApplyOption = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which experts should live on which node, and whether that is worth moving them."""
    with told("placement"):
        from orchestrator.scheduler.placement.placing import replan
    if cluster is None:
        problem = _of_gateway(config, url, hours)
    elif url is not None:
        raise ConfigError(f"expected --url or {cluster}, which both say what nodes there are")
    else:
        problem = _of_file(cluster, config, hours if from_ledger else None)
    with c_output_to_stderr():
        plan = replan(problem, min_gain=min_gain, time_limit_s=time_limit_s)
    if as_json:
        typer.echo(json.dumps(placement_json(problem, plan), ensure_ascii=False))
    else:
        _print_placement(problem, plan)
    _warn_of_overload(problem, plan)
    if apply and plan.moves:
        _apply(problem, plan, config)


def _of_gateway(config: Path | None, url: str | None, hours: float) -> Problem:
    """The nodes of a service that runs, and who is in memory there; traffic is the ledger's."""
    from orchestrator.commands.traffic import measured
    from orchestrator.fleet.configfile import find_config
    from orchestrator.fleet.planfiles import Cluster, told_of

    url = admin_url(config, url)
    told_now = asyncio.run(running_experts(url))
    sizes = {status.expert: status.memory_bytes for status in told_now.data if status.memory_bytes}
    with told_of(url):
        running = Cluster.of(told_now.memory, told_now.data)
        return running.problem(*measured(find_config(config), hours, sizes))


def _of_file(cluster: Path, config: Path | None, hours: float | None) -> Problem:
    """hours: of the ledger, whose traffic counts; None: the file says it."""
    from orchestrator.commands.traffic import measured
    from orchestrator.fleet.configfile import find_config
    from orchestrator.fleet.planfiles import Cluster, read_plan_file, told_of

    asked = read_plan_file(cluster, Cluster)
    if hours is None:
        with told_of(cluster):
            return asked.problem()
    if asked.experts or asked.together:
        raise ConfigError(f"{cluster}: expected no experts and no together beside --from-ledger, which counts them")
    counted = measured(find_config(config), hours)
    with told_of(cluster):
        return asked.problem(*counted)


def _apply(problem: Problem, plan: Plan, config: Path | None) -> None:
    """Where each expert has a copy, it may live from now on."""
    from orchestrator.fleet.configedit import place_experts
    from orchestrator.fleet.configfile import find_config

    path, placement = find_config(config), plan.placed.placement
    copies = placement.resident | placement.visiting
    homes = {
        expert.expert: [node.name for node, here in zip(problem.nodes, row, strict=True) if here]
        for expert, row in zip(problem.experts, copies, strict=True)
    }
    place_experts(path, homes)
    typer.echo(f"wrote the placement to {path}", err=True)


def placement_json(problem: Problem, plan: Plan) -> dict[str, Any]:
    """`nodes` (by name: `resident`, `visiting`, `memory_gb` used, `load` 0..), `shares` (by expert and node), `cost` and
    `staying` (s/s, as `orchestrator.scheduler.placement.base.Cost`, and `total`), `bound`, `gap` (0..1), `moves`."""
    placed, names = plan.placed, [expert.expert for expert in problem.experts]
    rows = _rows(problem, plan)
    return {
        "nodes": {
            node: {"resident": resident, "visiting": visiting, "memory_gb": used, "load": load}
            for node, resident, visiting, used, load in rows
        },
        "shares": {
            name: {node.name: float(s) for node, s in zip(problem.nodes, shares, strict=True) if s > 0}
            for name, shares in zip(names, placed.placement.shares, strict=True)
        },
        "cost": asdict(placed.cost) | {"total": placed.cost.total},
        "staying": None if plan.staying is None else asdict(plan.staying) | {"total": plan.staying.total},
        "bound": placed.bound,
        "gap": placed.gap,
        "moves": [asdict(move) for move in plan.moves],
    }


def _rows(problem: Problem, plan: Plan) -> list[tuple[str, list[str], list[str], float, float]]:
    """Of each node: name, residents, visitors, GB and load."""
    placement, names = plan.placed.placement, [expert.expert for expert in problem.experts]
    used, loads = problem.used_gb(placement), problem.loads(placement)

    def copies(column: Bools) -> list[str]:
        return [name for name, here in zip(names, column, strict=True) if here]

    return [
        (node.name, copies(placement.resident[:, i]), copies(placement.visiting[:, i]), float(used[i]), float(loads[i]))
        for i, node in enumerate(problem.nodes)
    ]


def _print_placement(problem: Problem, plan: Plan) -> None:
    rooms = problem.room_gb
    print_table(
        ("node", "GB", "of", "load", "resident", "visiting"),
        [
            (node, f"{used:.1f}", f"{room:.1f}", f"{load:.2f}", ", ".join(resident), ", ".join(visiting))
            for (node, resident, visiting, used, load), room in zip(_rows(problem, plan), rooms, strict=True)
        ],
    )
    cost = plan.placed.cost
    parts = (
        f"busiest {cost.busiest:.3f}, network {cost.network:.3f}, swaps {cost.swapping:.3f}, moves {cost.moving:.3f}"
    )
    typer.echo(f"{cost.total:.3f} seconds a second: {parts}; at most {plan.placed.gap:.1%} above the least possible")
    if plan.staying is not None:
        typer.echo(f"moving nothing: {plan.staying.total:.3f}")
    for move in plan.moves:
        typer.echo(f"load {move.expert} on {move.node}: {move.memory_bytes / 1e9:.1f} GB, {move.seconds:.1f} s")
    if not plan.moves:
        typer.echo("nothing to move")


def _warn_of_overload(problem: Problem, plan: Plan) -> None:
    loads = {node: load for node, _, _, _, load in _rows(problem, plan)}
    if over := [f"{node} ({load:.2f})" for node, load in loads.items() if load > 1]:
        typer.echo(
            f"warning: more is asked than can be served, and queues only grow: load above 1 on {', '.join(over)}",
            err=True,
        )
