"""Tables as Markdown, as GitHub reads it (https://github.github.com/gfm/#tables-extension-).

    markdown_table(["router", "reward"], [["auto", 0.81], ["a|b", 0.8]])

Not here: other markup in a cell, which is taken as it comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Without a line break at its end. What would end a cell or a row is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).splitlines()).replace("|", "\\|")
