"""Learned fusion beside its baselines on the outcomes that are here, cross-validated: `python -m evals.bench fusion`.

    rows = list(bench_fusion(Path("data/outcomes"), learned_fusion(encoder), encoder))

Not here: the comparison itself (`comparison.py`), and its table (`report.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from evals.fusion.comparison import Contender, Row, compare
from evals.protocols import MID_POOL, TWELVE, known_protocols, protocol_files
from routers.base import Encoder
from routers.data.outcomes import read_outcomes
from routers.fusing.table import AnswerTable

POOLS = {"mmlupro10": MID_POOL, "zeroeval12": TWELVE}
"""Experts by protocol."""


def bench_fusion(data: Path, contender: Contender, encoder: Encoder, only: Sequence[str] = ()) -> Iterator[Row]:
    """data, only, and what is raised: as of `answer_tables`."""
    for name, table in answer_tables(data, only):
        yield from compare(name, table, contender, encoder)


def answer_tables(data: Path, only: Sequence[str] = ()) -> Iterator[tuple[str, AnswerTable]]:
    """Recorded answers by data set. data: the folder of outcome files. only: data sets by name; by default all that are there.

    Raises ValueError for a name that is none of them, and where none is there.
    """
    there = [name for name in POOLS if name in known_protocols(data)]
    if not there or not set(only) <= set(there):
        raise ValueError(
            f"{data}: expected the outcomes of {', '.join(only or POOLS)}, found {', '.join(there) or 'none'}"
        )
    for name in only or there:
        yield name, _answers(name, data)


def _answers(name: str, data: Path) -> AnswerTable:
    (path,) = protocol_files(name, data)
    return AnswerTable.from_outcomes(read_outcomes(path), POOLS[name])
