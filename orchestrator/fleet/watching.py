"""A file that is read again whenever it changes.

    file = WatchedFile(Path("experts.yaml"))      # before it is read, so that no edit since then is missed
    await file.watch(service.reload)              # until cancelled

Not here: what is done about a change.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from watchfiles import awatch

CHECK_S = 2.0

FileState = tuple[int, int, int] | None

logger = logging.getLogger(__name__)


class WatchedFile:
    """One path, whatever links lead from there, as it is now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state = _state_of(path)

    async def watch(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Call `changed` after every change, until cancelled.

        The folder is watched, because editors replace files; and every `CHECK_S` the file itself is looked at, because what it
        links to may lie elsewhere, and network drives tell nobody.
        """
        while True:
            try:
                async for _ in awatch(
                    self._path.parent, recursive=False, yield_on_timeout=True, rust_timeout=int(CHECK_S * 1000)
                ):
                    await self._look(changed)
            except (OSError, RuntimeError) as error:  # no inotify watch is left, or the folder is gone for a moment
                logger.warning("the folder of %s can't be watched: %s", self._path.name, error)
            await asyncio.sleep(CHECK_S)
            await self._look(changed)

    async def _look(self, changed: Callable[[], Awaitable[None]]) -> None:
        if (found := _state_of(self._path)) != self._state:
            self._state = found
            await changed()


def _state_of(path: Path) -> FileState:
    """What tells one version of a file from the next, whatever links lead there; None when there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
