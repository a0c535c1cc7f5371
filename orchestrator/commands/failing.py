"""What libraries raise, as one line for the person at the terminal.

    with told():
        table, reading = read_table(paths)          # OutcomeError -> DataError, a missing extra -> MissingExtra

Only around work on what the user gave: elsewhere these exceptions are bugs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from orchestrator.errors import DataError, MissingExtra

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it, and after a SIGTERM that was waited for."""

_OF_TRAINING = frozenset({"sklearn", "scipy", "pyarrow", "faiss", "threadpoolctl"})


@contextmanager
def resumable(kept: str) -> Iterator[None]:
    """Ctrl-C, or SIGTERM where that cancels the work, is one line, and exit code 130.

    kept: what is on disk by then, "what was answered is kept in F".
    """
    try:
        yield
    except (KeyboardInterrupt, asyncio.CancelledError):
        typer.echo(f"stopped; {kept}, and the same command goes on from there", err=True)
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def told(feature: str = "training") -> Iterator[None]:
    """Raises `DataError` for a ValueError, an OSError or an ImportError, and `MissingExtra` where the extra `train` is missing.

    feature: what needs it.
    """
    try:
        yield
    except ImportError as exc:
        if (exc.name or "").partition(".")[0] in _OF_TRAINING:
            raise MissingExtra(feature, "train") from exc
        raise DataError(str(exc)) from exc
    except OSError as exc:
        raise DataError(f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc)) from exc
    except ValueError as exc:
        raise DataError(str(exc)) from exc
