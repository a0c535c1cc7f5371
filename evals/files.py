"""Files that are whole or not there, however a benchmark ends.

    write_whole(Path("out/report.md"), lambda file: file.write(b"# Report"))

Not here: what is in them (`evals/sweeps/storing.py`, `evals/reports/`, `evals/live/writing.py`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO


def write_whole(path: Path, writer: Callable[[IO[bytes]], object]) -> None:
    """Whatever `writer` raises, the file that was there before stays. Its folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        try:
            writer(file)
        except BaseException:  # Ctrl-C too leaves no half a file; what was raised goes on
            Path(file.name).unlink()
            raise
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)
