"""`switchyard experts place` and `switchyard experts precision`: what to keep in memory, where, and how exactly.

    switchyard experts place cluster.yaml --from-ledger --hours 6
    switchyard experts precision variants.yaml --budget-gb 24

Plans to be carried out by those who run the nodes: nothing is loaded here. Not here: the plans themselves
(`orchestrator/scheduler/placement/`, `orchestrator/scheduler/precision.py`) and their files (`orchestrator/fleet/planfiles.py`).
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.commands.failing import told
from orchestrator.commands.options import ConfigOption, JsonOption
from orchestrator.commands.quiet import c_output_to_stderr
from orchestrator.commands.tables import print_table
from orchestrator.errors import ConfigError, DataError

if TYPE_CHECKING:
    from orchestrator.config import Config
    from orchestrator.scheduler.placement.base import Bools, Demand, Problem, Together
    from orchestrator.scheduler.placement.measuring import Home, Traffic
    from orchestrator.scheduler.placement.placing import Plan
    from orchestrator.scheduler.precision import Precision

ClusterArgument = Annotated[Path, typer.Argument(metavar="CLUSTER.yaml", help="Nodes, links, experts, where they are.")]
LedgerOption = Annotated[
    bool, typer.Option("--from-ledger", help="Take experts and traffic from experts.yaml and its ledger.")
]
HoursOption = Annotated[float, typer.Option(min=0.01, max=1e6, help="Of --from-ledger: the last so many.")]
GainOption = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Move nothing for a gain below this share of the cost.")
]
LimitOption = Annotated[float, typer.Option(min=0.1, help="Seconds to look for the best placement.")]


def place(
    cluster: ClusterArgument,
    from_ledger: LedgerOption = False,
    hours: HoursOption = 24.0,
    min_gain: GainOption = 0.05,
    time_limit_s: LimitOption = 10.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which experts should live on which node, and whether that is worth moving them."""
    with told("placement"):
        from orchestrator.fleet.planfiles import Cluster, read_plan_file, told_of
        from orchestrator.scheduler.placement.placing import replan
    asked = read_plan_file(cluster, Cluster)
    if from_ledger and (asked.experts or asked.together):
        raise ConfigError(f"{cluster}: expected no experts and no together beside --from-ledger, which counts them")
    measured = _measured(config, hours) if from_ledger else (None, None)
    with told_of(cluster):
        problem = asked.problem(*measured)
    with c_output_to_stderr():
        plan = replan(problem, min_gain=min_gain, time_limit_s=time_limit_s)
    if as_json:
        typer.echo(json.dumps(placement_json(problem, plan), ensure_ascii=False))
    else:
        _print_placement(problem, plan)
    _warn_of_overload(problem, plan)


def precision(
    variants: Annotated[Path, typer.Argument(metavar="VARIANTS.yaml", help="Quantisations with size and quality.")],
    budget_gb: Annotated[float, typer.Option(min=0.0, max=1e6, help="Memory for all that are kept.")],
    as_json: JsonOption = False,
) -> None:
    """Which quantisation of each expert to keep under a memory budget, and what another GB would buy."""
    with told("precision"):
        from orchestrator.fleet.planfiles import Quantised, read_plan_file, told_of
        from orchestrator.scheduler.precision import choose_variants
    fleet = read_plan_file(variants, Quantised).fleet()
    with told_of(variants), c_output_to_stderr():
        chosen = choose_variants(fleet, round(budget_gb * 1e9))
    if as_json:
        typer.echo(json.dumps(asdict(chosen), ensure_ascii=False))
    else:
        _print_precision(chosen)


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


def _print_precision(chosen: Precision) -> None:
    print_table(
        ("expert", "keep", "GB", "quality"),
        [
            (name, v.name, f"{v.memory_bytes / 1e9:.1f}", v.quality) if v else (name, "nothing", "", "")
            for name, v in chosen.variants.items()
        ],
    )
    typer.echo(
        f"quality {chosen.quality:.4f} in {chosen.memory_bytes / 1e9:.1f} GB; no choice has more than {chosen.bound:.4f}"
    )
    typer.echo(f"one more GB adds {chosen.another_gb:.4f}; at the margin, {chosen.price_per_gb:.4f} a GB")


def _measured(config_path: Path | None, hours: float) -> tuple[tuple[Demand, ...], tuple[Together, ...]]:
    """Demands and pairs of the last so many hours, or of all time that the ledger knows, if that is less.

    Raises `DataError` when nothing was asked in it.
    """
    from orchestrator.fleet.configfile import find_config, read_config
    from orchestrator.scheduler.placement.measuring import Traffic

    path = find_config(config_path)
    config, now = read_config(path), time.time()
    traffic, since = Traffic(_homes(config)), now - hours * 3600
    first, count = asyncio.run(_count(config, path.parent, traffic, since))
    if not count:
        raise DataError(f"the ledger has no decisions of the last {hours:g} hours")
    seconds = max(now - max(first, since), 1.0)
    return traffic.demands(seconds), traffic.together(seconds)


async def _count(config: Config, base_dir: Path, traffic: Traffic, since: float) -> tuple[float, int]:
    """The Unix time of the ledger's first decision (infinity when there is none), and how many there are since then."""
    from orchestrator.service import make_ledger

    first, count, ledger = math.inf, 0, make_ledger(config, base_dir)
    await ledger.open()
    try:
        async for decision in ledger.decisions():
            first = decision.created_at
            break
        async for decision in ledger.decisions(since=since):
            count += 1
            traffic.add(decision)
    finally:
        await ledger.close()
    return first, count


def _homes(config: Config) -> dict[str, Home]:
    """Of the experts with weights here, and of those that stand on one. Raises `ConfigError` where a size isn't declared."""
    from orchestrator.config.base import ServedBase
    from orchestrator.scheduler.placement.measuring import Home

    homes = {}
    for spec in config.experts:
        host = config.by_name[spec.host]
        if not isinstance(host, ServedBase):
            continue
        if host.residency.memory_gb is None:
            raise ConfigError(f"'{host.name}' declares no memory: expected residency.memory_gb in experts.yaml")
        homes[spec.name] = Home(host.name, round(host.residency.memory_gb * 1e9), host.limits.concurrency)
    return homes
