"""The files that come out of a batch: what was answered, and what was not.

    output, error = write_outputs(store.path, owned, run.results(), may_write)
    output.bytes                                    # 0 where nothing was answered, and then the file isn't there

Not here: what stands in a line (`run.py`), and who is told of the files (`store.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from orchestrator.bulk.holding import NOT_HELD
from orchestrator.bulk.objects import OUTPUTS, FileObject, Owned, output_file, output_id
from orchestrator.bulk.run import Result
from orchestrator.errors import LedgerUnavailable
from routers.data.outcomes import replaced


def write_outputs(
    path_of: Callable[[str], Path], owned: Owned, results: Iterable[Result], may_write: Callable[[], bool]
) -> tuple[FileObject, FileObject]:
    """The output and the error file, each whole or not at all. Raises `LedgerUnavailable` when it may not be written in the end."""
    batch, kept_s, now = owned.batch, owned.outputs_kept_s, time.time()
    paths = [path_of(output_id(batch, what)) for what in OUTPUTS]
    sizes = [0, 0]
    with replaced(paths[0]) as output, replaced(paths[1]) as error:
        for result in results:
            sizes[not result.is_ok] += (output if result.is_ok else error).write(result.text)
        if not may_write():
            raise LedgerUnavailable(NOT_HELD)
    for path, size in zip(paths, sizes, strict=True):
        if not size:
            path.unlink()
    first, second = (output_file(batch, *each, now=now, kept_s=kept_s) for each in zip(OUTPUTS, sizes, strict=True))
    return first, second
