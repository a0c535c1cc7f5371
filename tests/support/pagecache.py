"""The system's file cache, as tests need it: files forgotten, and waited for.

drop(file)
until_cached([file])
"""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def drop(file: Path) -> bool:
    """Out of the cache, as after a reboot; False where the file system doesn't forget."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return cached_bytes(file) == 0


def until_cached(files: Sequence[Path]) -> bool:
    """Whether nearly all of them is in the cache, soon; the system tells nobody, and may leave some out."""
    give_up_at = time.monotonic() + 20
    size = sum(file.stat().st_size for file in files)
    while sum(map(cached_bytes, files)) < 0.8 * size:
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.01)
    return True


def cached_bytes(file: Path) -> int:
    """How much of it is in memory, by whole pages: mincore(2)."""
    size = file.stat().st_size
    pages = np.zeros(-(-size // mmap.PAGESIZE), dtype=np.uint8)
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), size, access=mmap.ACCESS_READ) as mapped:
        view = np.frombuffer(mapped, dtype=np.uint8)
        failed = ctypes.CDLL(None).mincore(*map(ctypes.c_void_p, (view.ctypes.data, size, pages.ctypes.data)))
        del view  # or the mapping could not be closed
    assert not failed
    return min(size, int(np.count_nonzero(pages & 1)) * mmap.PAGESIZE)
