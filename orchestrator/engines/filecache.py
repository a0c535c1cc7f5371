"""Weights brought into the system's file cache ahead of a load, and how much of them is there.

    await asyncio.to_thread(warm, command.files)
    cached_bytes(command.files)                   # (1_200_000_000, 4_700_000_000): of Linux's page cache, by mincore(2)

What is read while another model still computes, or drains, is not waited for when its place is free. The cache is memory that
the system takes back as soon as somebody needs it, so nothing is ever dropped from it here. What can't be opened is left out: the
server that needs it will say so with more reason.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

CHUNK_BYTES = 1 << 20
"""Linux reads no more for one `posix_fadvise` than its device takes in one request: 8 MB of any file here, 200 MB in chunks."""


def warm(files: Iterable[Path]) -> None:
    """Ask the system to read the files, and those in folders, in the background. Blocks while its queue is full.

    It may leave out a few percent when it is busy.
    """
    for file in _files(files):
        with suppress(OSError), file.open("rb") as opened:
            for start in range(0, file.stat().st_size, CHUNK_BYTES):
                os.posix_fadvise(opened.fileno(), start, CHUNK_BYTES, os.POSIX_FADV_WILLNEED)


def cached_bytes(files: Iterable[Path]) -> tuple[int, int]:
    """How much of the files is in memory, by whole pages, and how much they are, in bytes."""
    cached = whole = 0
    for file in _files(files):
        with suppress(OSError):
            cached += _cached_bytes(file)
            whole += file.stat().st_size
    return cached, whole


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        yield from (file for file in path.rglob("*") if file.is_file()) if path.is_dir() else (path,)


def _cached_bytes(file: Path) -> int:
    size = file.stat().st_size
    if size == 0:
        return 0
    pages = np.zeros(-(-size // mmap.PAGESIZE), dtype=np.uint8)
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), size, access=mmap.ACCESS_READ) as mapped:
        view = np.frombuffer(mapped, dtype=np.uint8)
        failed = _libc().mincore(*map(ctypes.c_void_p, (view.ctypes.data, size, pages.ctypes.data)))
        del view  # or the mapping could not be closed
    if failed:
        raise OSError(ctypes.get_errno(), "mincore failed", str(file))
    return min(size, int(np.count_nonzero(pages & 1)) * mmap.PAGESIZE)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
