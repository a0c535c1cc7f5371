"""What C libraries print on their own account, kept out of what a command prints.

    with c_output_to_stderr():
        plan = replan(problem)          # HiGHS prints a line when it repairs a solution, whatever its options say

Not here: what Python prints, and logging.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_STDOUT, _STDERR = 1, 2


@contextmanager
def c_output_to_stderr() -> Iterator[None]:
    """Of the whole process, so only for commands."""
    sys.stdout.flush()
    kept = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # C's buffer is written at exit otherwise
        os.dup2(kept, _STDOUT)
        os.close(kept)
