"""Which outcomes a router is fitted on and which it is judged by, so that it is never judged by what it has seen.

    held = hold_out(table, seed=0)                    # the files' own split, else a fifth of the queries by their hashes
    for train, test in held.parts: ...                # row numbers of held.table; with folds=5 five pairs
    held.is_given                                     # True: the test rows are nobody's to train on, not even at the end

Rows of `split: test` are held out where there are others to train on. Queries that stand in the training part, as they are or
nearly so, are dropped from the test part. Not here: finding duplicates and folds (`routers/data/splits.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routers.data.splits import find_duplicates, fold_numbers, is_held_out
from routers.data.table import RewardTable

HELD_OUT_SHARE = 0.2
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class HeldOut:
    """parts: row numbers of `table` to fit on and to judge by, in pairs. how: for the report. notes: what was left out."""

    table: RewardTable
    parts: tuple[tuple[Rows, Rows], ...]
    is_given: bool
    how: str
    notes: tuple[str, ...]

    @property
    def final(self) -> Rows:
        """The rows that the router is fitted on in the end: all, except those that the files hold out."""
        return self.parts[0][0] if self.is_given else np.arange(len(self.table))


def hold_out(table: RewardTable, *, folds: int | None = None, seed: int = 0) -> HeldOut:
    """folds: judge every query by a router fitted without its fold, instead of some queries by one router.

    With `folds`, rows of `split: test` take no part at all. Raises ValueError when a part would be empty.
    """
    is_test = np.array([split == "test" for split in table.splits], dtype=np.bool_)
    has_split = bool(is_test.any() and not is_test.all())
    notes = []
    if folds is not None:
        if has_split:
            notes.append("the split 'test' takes no part: it is for `switchyard evaluate --split test`")
            table = table.rows(~is_test)
        numbers, how = fold_numbers(table, folds, seed), f"{folds} folds"
    elif has_split:
        numbers, how = np.where(is_test, 0, -1), "the split in the data"
    else:
        chosen = [is_held_out(query, HELD_OUT_SHARE, seed) for query in table.queries]
        numbers, how = np.where(chosen, 0, -1), f"{HELD_OUT_SHARE:.0%} of the queries, by hash"
    _require_both(numbers)
    table, numbers, left_out = _with_known_experts(table, numbers)
    parts, num_dropped = _parts(table, numbers)
    notes += left_out
    if num_dropped:
        notes.append(
            f"dropped from what was held out, for standing in the training part as well, or nearly so: {num_dropped:,}"
        )
    return HeldOut(table, parts, folds is None and has_split, how, tuple(notes))


def _require_both(numbers: Rows) -> None:
    if not (numbers == 0).any() or (numbers == 0).all():
        raise ValueError(
            f"{len(numbers)} {'query is' if len(numbers) == 1 else 'queries are'} too few to hold some out and fit on "
            "the rest; expected about 100 or more (or --folds, from 2 different queries on)"
        )


def _with_known_experts(table: RewardTable, numbers: Rows) -> tuple[RewardTable, Rows, list[str]]:
    """Without the experts that some part has no training outcome of, and the queries that only those were tried on."""
    trained = np.stack([table.tried[numbers != fold].any(axis=0) for fold in _folds(numbers)])
    known: NDArray[np.bool_] = np.asarray(trained.all(axis=0))
    if known.all():
        return table, numbers, []
    if not known.any():
        raise ValueError("no expert was tried on the queries to fit on, expected at least one")
    names = [f"'{name}'" for name, is_known in zip(table.experts, known, strict=True) if not is_known]
    kept = table.tried[:, known].any(axis=1)
    narrowed = table.only([name for name, is_known in zip(table.experts, known, strict=True) if is_known])
    _require_both(numbers[kept])
    return narrowed, numbers[kept], [f"left out, for want of outcomes to fit on: {', '.join(names)}"]


def _parts(table: RewardTable, numbers: Rows) -> tuple[tuple[tuple[Rows, Rows], ...], int]:
    """The parts without duplicates, and how many queries were dropped."""
    parts, num_dropped = [], 0
    for fold in _folds(numbers):
        train, test = np.flatnonzero(numbers != fold), np.flatnonzero(numbers == fold)
        leaked = find_duplicates([table.queries[i] for i in train], [table.queries[i] for i in test]).any
        num_dropped += int(leaked.sum())
        if not leaked.all():
            parts.append((train, test[~leaked]))
    if not parts:
        raise ValueError("every held-out query stands in the training part: expected queries that differ")
    return tuple(parts), num_dropped


def _folds(numbers: Rows) -> Iterator[int]:
    yield from range(int(numbers.max()) + 1)
