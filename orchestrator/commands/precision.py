"""`switchyard experts precision`: which quantisation of each expert to keep in memory.

    switchyard experts precision variants.yaml --budget-gb 24

Not here: the choice (`orchestrator/scheduler/precision.py`), and its file (`orchestrator/fleet/planfiles.py`).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.failing import told
from orchestrator.commands.options import JsonOption
from orchestrator.commands.quiet import c_output_to_stderr
from orchestrator.commands.tables import print_table

if TYPE_CHECKING:
    from orchestrator.scheduler.precision import Precision


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
