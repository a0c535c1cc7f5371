"""Weights brought into the system's file cache ahead of a load.

    ahead = ReadAhead()
    ahead.read(launch)                            # returns at once
    ahead.close()                                 # so does this

What is read while another model still computes, or drains, is not waited for when its place is free. The cache is memory that
the system takes back as soon as somebody needs it, so nothing is ever dropped from it here. What can't be opened is left out: the
server that needs it will say so with more reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread

from orchestrator.engines.base import Launchable

CHUNK_BYTES = 1 << 20
"""Linux reads no more for one `posix_fadvise` than its device takes in one request: 8 MB of any file here, 200 MB in chunks."""


class ReadAhead:
    """Reads in a thread of its own, one expert's files after the other's; it ends with the process, however slow the disk."""

    def __init__(self) -> None:
        self._asked: list[Launchable] = []
        self._queue: SimpleQueue[Launchable | None] = SimpleQueue()
        self._closed = Event()
        self._thread: Thread | None = None

    def read(self, launch: Launchable) -> None:
        """Have the files of its command read, unless they are waiting to be already."""
        if launch in self._asked or self._closed.is_set():
            return
        if self._thread is None:
            self._thread = Thread(target=self._run, name="read-ahead", daemon=True)
            self._thread.start()
        self._asked.append(launch)
        self._queue.put(launch)

    def close(self) -> None:
        """Read no more. Nothing is waited for."""
        self._closed.set()
        self._queue.put(None)

    def _run(self) -> None:
        while (launch := self._queue.get()) is not None:
            with suppress(Exception):  # whatever is wrong with a command or a folder, its launch will tell
                warm(launch().files, self._closed.is_set)
            self._asked.remove(launch)


def warm(files: Iterable[Path], stopped: Callable[[], bool] = lambda: False) -> None:
    """Ask the system to read the files, and those in folders, in the background. Blocks while its queue is full.

    It may leave out a few percent when it is busy. stopped: asked before each chunk whether to read no more.
    """
    for file in _files(files):
        with suppress(OSError), file.open("rb") as opened:
            for start in range(0, file.stat().st_size, CHUNK_BYTES):
                if stopped():
                    return
                os.posix_fadvise(opened.fileno(), start, CHUNK_BYTES, os.POSIX_FADV_WILLNEED)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        yield from (file for file in path.rglob("*") if file.is_file()) if path.is_dir() else (path,)
