"""The system's file cache, as tests need it: files forgotten, and waited for.

drop(file)
until_cached([file])
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from orchestrator.engines.filecache import cached_bytes


def drop(file: Path) -> bool:
    """Out of the cache, as after a reboot; False where the file system doesn't forget."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return cached_bytes([file])[0] == 0


def until_cached(files: Sequence[Path]) -> bool:
    """Whether nearly all of them is in the cache, soon; the system tells nobody, and may leave some out."""
    give_up_at = time.monotonic() + 20
    while (there := cached_bytes(files))[0] < 0.8 * there[1]:
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.01)
    return True
