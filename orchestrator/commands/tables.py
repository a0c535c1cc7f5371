"""Tables on the terminal, 200 columns wide in a pipe.

    print_table(("expert", "reward"), [("small", 0.8), ("large", 0.9)])

Not here: JSON, which each command prints itself.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def print_table(columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    """One line a row, under the columns' names; floats as short as `g` makes them."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in row))
    Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 200).print(table)
