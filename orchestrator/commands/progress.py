"""A progress bar on a terminal, and nothing in a pipe.

with progress_bar(quiet=as_json) as progress:
    train(table, settings, encoder=encoder, progress=progress)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from routers.training.judging import Progress


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Progress]:
    """One line on stderr that says what is being done and how much of it is; it is gone when the block ends."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[amount]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("", total=None, amount="")

        def show(stage: str, done: int, total: int) -> None:
            """A total of 0 is one that nobody knows."""
            amount = f"{done:,} of {total:,}" if total else ""
            bar.update(task, description=stage, completed=done, total=total or None, amount=amount)

        yield show
