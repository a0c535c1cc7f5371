"""What the commands of `bench.py` have in common: where their data is, and how rows are printed.

    def mine(data: Data = None, as_json: AsJson = False) -> None:
        show(bench_mine(data_folder(data)), as_json)

Not here: the benchmarks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")]
Data = Annotated[Path | None, typer.Option(help="Folder of outcome files. Default: $SWITCHYARD_DATA/outcomes.")]


def data_folder(given: Path | None) -> Path:
    """The folder of outcome files."""
    if given is None and "SWITCHYARD_DATA" not in os.environ:
        raise typer.BadParameter("name a folder of outcome files with --data, or set SWITCHYARD_DATA")
    return given or Path(os.environ["SWITCHYARD_DATA"]) / "outcomes"


def show(rows: Iterable[Any], as_json: bool) -> None:
    found = list(rows)
    if as_json:
        sys.stdout.write(msgspec.json.encode([asdict(row) for row in found]).decode() + "\n")
        return
    table = Table()
    for field in fields(found[0]):
        table.add_column(field.name, justify="left" if field.type == "str" else "right")
    for row in found:
        table.add_row(*(_cell(getattr(row, field.name)) for field in fields(row)))
    Console(width=140).print(table)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if value < 100 else f"{value:,.0f}"
    return str(value)
