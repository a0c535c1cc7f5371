"""Which outcomes a router is fitted on and which it is judged by, so that it is never judged by what it has seen.

    held = hold_out(table, seed=0)                    # the files' own split, else a fifth of the queries by their hashes
    for train, test in held.parts: ...                # row numbers of held.table; with folds=5 five pairs
    held.is_given                                     # True: the test rows are nobody's to train on, not even at the end

Rows of `split: test` are held out where there are others to train on. No query is judged by a router that has seen it, or nearly
so: such queries are dropped from the part held out; from the training part with folds, so that every query is judged.
Not here: finding duplicates and folds (`routers/data/splits.py`).
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
    """parts: row numbers of `table` to fit on and to judge by, in pairs. how: for the report. notes: what was left out.

    num_leaked: rows dropped for standing in both parts; the notes say so too.
    """

    table: RewardTable
    parts: tuple[tuple[Rows, Rows], ...]
    is_given: bool
    how: str
    notes: tuple[str, ...]
    num_leaked: int = 0

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
    parts, num_dropped = _parts(table, numbers) if folds is None else _parts_of_folds(table, numbers)
    notes += left_out
    if num_dropped:
        where = "what was held out" if folds is None else "training parts"
        notes.append(f"dropped from {where}, for standing in the other part as well, or nearly so: {num_dropped:,}")
    return HeldOut(table, parts, folds is None and has_split, how, tuple(notes), num_dropped)


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
    """The two parts, what is held out without duplicates, and how many queries were dropped."""
    train, test = np.flatnonzero(numbers != 0), np.flatnonzero(numbers == 0)
    leaked = _stand_in(table, test, train)
    if leaked.all():
        raise ValueError("every held-out query stands in the training part: expected queries that differ")
    return ((train, test[~leaked]),), int(leaked.sum())


def _parts_of_folds(table: RewardTable, numbers: Rows) -> tuple[tuple[tuple[Rows, Rows], ...], int]:
    """A pair for every fold, training parts without duplicates, and how many queries were dropped from one or another."""
    parts, dropped = [], np.zeros(len(table), dtype=np.bool_)
    for fold in _folds(numbers):
        train, test = np.flatnonzero(numbers != fold), np.flatnonzero(numbers == fold)
        leaked = _stand_in(table, train, test)
        if leaked.all():
            raise ValueError("all queries are nearly the same: expected queries that differ")
        dropped[train[leaked]] = True
        parts.append((train[~leaked], test))
    return tuple(parts), int(dropped.sum())


def _stand_in(table: RewardTable, rows: Rows, others: Rows) -> NDArray[np.bool_]:
    """Which of the rows' queries stand among the others, as they are or nearly so."""
    return find_duplicates([table.queries[i] for i in others], [table.queries[i] for i in rows]).any


def _folds(numbers: Rows) -> Iterator[int]:
    yield from range(int(numbers.max()) + 1)
