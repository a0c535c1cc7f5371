"""Outcome files to one reward table, in bounded memory.

    table, reading = read_table([Path("train.jsonl.gz"), Path("more.parquet")])
    reading.notes                                 # ('1,204 of 9,000 queries were kept, chosen by their hashes',)

Beyond `max_queries` the lines with the lowest query hashes are kept: the choice depends on the texts alone, whatever the order of
lines and files. A line that says the same as an earlier one counts once. Not here: duplicates between training and test
(`routers/data/splits.py`).
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from routers.base import Outcome
from routers.data.outcomes import OutcomeError, read_outcomes
from routers.data.splits import query_hash
from routers.data.table import RewardTable

_SALT = 0x5AFE
"""Of the hashes that choose a sample: not those of any split, or a sample would fall into one part as a whole."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of the lines: how many there were, are in the table, and said the same as an earlier one that was kept."""

    num_lines: int
    num_kept: int
    num_duplicates: int
    notes: tuple[str, ...]


def read_table(
    paths: Sequence[Path], *, experts: Sequence[str] | None = None, max_queries: int = 200_000
) -> tuple[RewardTable, Reading]:
    """The outcomes of all files as one table, in the order they stand there.

    experts: the columns wanted, by default all. Raises `OutcomeError` for a file that is wrong or holds nothing of use, ValueError
    for experts that no outcome has.
    """
    sample = _Sample(max_queries)
    num_lines, num_left_out, seen = 0, 0, dict[str, None]()
    for outcome in _chained(paths):
        num_lines += 1
        seen.update(dict.fromkeys(outcome.rewards))
        if outcome.rewards.keys().isdisjoint(outcome.rewards if experts is None else experts):
            num_left_out += 1
        else:
            sample.add(outcome)
    if experts is not None and (unknown := [name for name in experts if name not in seen]):
        raise ValueError(f"no outcome has the expert '{unknown[0]}', expected some of {', '.join(seen)}")
    kept = sample.in_order()
    if not kept:
        raise OutcomeError(f"{', '.join(map(str, paths))}: expected outcomes with at least one reward, got none")
    notes = _notes(num_lines, num_left_out, sample)
    return RewardTable.of(kept, experts), Reading(num_lines, len(kept), sample.num_duplicates, notes)


def _chained(paths: Sequence[Path]) -> Iterator[Outcome]:
    for path in paths:
        yield from read_outcomes(path)


def _notes(num_lines: int, num_left_out: int, sample: _Sample) -> tuple[str, ...]:
    notes = []
    if num_left_out:
        notes.append(
            f"{num_left_out:,} of {num_lines:,} lines have no reward for any expert asked for and were left out"
        )
    if sample.num_duplicates:
        notes.append(f"{sample.num_duplicates:,} lines said the same as an earlier one and count once")
    if sample.num_evicted:
        offered = sample.num_evicted + len(sample)
        notes.append(f"{len(sample):,} of {offered:,} lines were kept, those whose queries have the lowest hashes")
    return tuple(notes)


class _Sample:
    """The `size` outcomes with the lowest query hashes, each once."""

    def __init__(self, size: int) -> None:
        self.num_duplicates = 0
        self.num_evicted = 0
        self._size = size
        self._position = 0
        self._heap: list[tuple[int, int, int]] = []
        """Of each kept outcome: its negated query hash (so that the largest is first), negated position and fingerprint."""
        self._kept: dict[int, tuple[int, Outcome]] = {}
        """Position and outcome by fingerprint."""

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, outcome: Outcome) -> None:
        """Keep the outcome, or another in its place, if it is among the lowest."""
        fingerprint = hash(_content(outcome))
        if fingerprint in self._kept:
            self.num_duplicates += 1
            return
        self._position += 1
        entry = (-query_hash(outcome.query, _SALT), -self._position, fingerprint)
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
        else:
            self.num_evicted += 1
            dropped = heapq.heappushpop(self._heap, entry)
            if dropped is entry:
                return
            del self._kept[dropped[2]]
        self._kept[fingerprint] = (self._position, _slim(outcome))

    def in_order(self) -> list[Outcome]:
        return [outcome for _, outcome in sorted(self._kept.values(), key=lambda kept: kept[0])]


def _content(outcome: Outcome) -> tuple[object, ...]:
    """What makes two lines the same."""
    return outcome.id, outcome.query, *(frozenset(cells.items()) for cells in (outcome.rewards, outcome.costs))


def _slim(outcome: Outcome) -> Outcome:
    """What a table holds of an outcome, its experts' names shared among all."""
    return replace(
        outcome,
        rewards=_interned(outcome.rewards),
        costs=_interned(outcome.costs),
        propensity=_interned(outcome.propensity),
        answers={},
        target=None,
    )


def _interned(cells: Mapping[str, float]) -> dict[str, float]:
    return {sys.intern(name): cell for name, cell in cells.items()}
