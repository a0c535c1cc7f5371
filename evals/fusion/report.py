"""A comparison as Markdown, for a README: a line per method and a column per budget.

    print(comparison_table(rows))

Not here: what is compared (`evals/fusion/comparison.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from evals.fusion.comparison import LEARNED, Row
from evals.markdown import markdown_table

NEAR = 0.02
"""Mean calls that differ by no more are told as equal."""


def comparison_table(rows: Sequence[Row]) -> str:
    """A table for each data set, accuracies times 100, under a line that says what is in its cells."""
    names = dict.fromkeys(row.data for row in rows)
    return "\n\n".join(_table([row for row in rows if row.data == name]) for name in names) + "\n"


def _table(rows: Sequence[Row]) -> str:
    cells = {(row.method, row.budget): _cell(row, rows) for row in rows}
    budgets, methods = (list(dict.fromkeys(key[i] for key in cells)) for i in (1, 0))
    lines = [[method, *(cells.get((method, budget), "") for budget in budgets)] for method in methods]
    told = (
        f"**{rows[0].data}**, {rows[0].n:,} queries: accuracy x 100; what {LEARNED} is ahead by, with the paired 95% interval; "
        "mean calls where they differ from those of learned fusion"
    )
    return f"{told}\n\n{markdown_table(['', *budgets], lines)}"


def _cell(row: Row, rows: Sequence[Row]) -> str:
    if row.method == LEARNED:
        return f"**{100 * row.accuracy:.1f}** ({100 * row.low:.1f} to {100 * row.high:.1f}), {row.calls:.2f} calls"
    calls = next(other.calls for other in rows if (other.method, other.budget) == (LEARNED, row.budget))
    apart = f", {row.calls:.2f} calls" if abs(row.calls - calls) > NEAR else ""
    gain, low, high = (round(100 * value, 1) + 0.0 for value in (row.gain, row.gain_low, row.gain_high))  # and no -0.0
    return f"{100 * row.accuracy:.1f} ({gain:+.1f}: {low:.1f} to {high:.1f}){apart}"
