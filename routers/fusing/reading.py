"""Outcome files to one table of answers.

    table, notes = read_answers([Path("train.jsonl.gz")], experts=["small", "large"])

Not here: the format (`routers/data/outcomes.py`), rewards alone (`routers/data/loading.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from routers.base import Outcome
from routers.data.outcomes import OutcomeError, read_outcomes
from routers.fusing.table import AnswerTable

MAX_QUERIES = 200_000


def read_answers(
    paths: Sequence[Path], *, experts: Sequence[str] | None = None, without_test: bool = False
) -> tuple[AnswerTable, tuple[str, ...]]:
    """The answers in all files, and notes on what was left out. without_test: leave out the split 'test', unless all is.

    Raises `OutcomeError` for a file that is wrong, ValueError for files without answers and for experts that no outcome has.
    """
    outcomes = list(_limited(paths))
    notes = []
    kept = [outcome for outcome in outcomes if outcome.split != "test"] if without_test else outcomes
    if not kept:
        kept = outcomes
    elif len(kept) < len(outcomes):
        notes.append("the split 'test' takes no part: it is for `switchyard fuse evaluate`")
    table = AnswerTable.from_outcomes(kept)
    if experts is not None:
        table = table.only(experts)
    if len(table) < len(kept):
        notes.append(f"{len(kept) - len(table):,} of {len(kept):,} queries have no answer of these experts: left out")
    return table, tuple(notes)


def _limited(paths: Sequence[Path]) -> Iterator[Outcome]:
    count = 0
    for path in paths:
        for outcome in read_outcomes(path):
            count += 1
            if count > MAX_QUERIES:
                raise OutcomeError(f"{path}: more than {MAX_QUERIES:,} queries, expected fewer")
            yield outcome
