"""Data sets of a sweep: outcome files by their paths, and the named protocols of `evals/protocols.py`.

    mine = DataSet("mine", (Path("mine.jsonl"),))
    mine.protocol(seed=1).splits                        # train and test tables, fold after fold
    named_data_sets(Path("data/outcomes"))              # every protocol whose files are there

Reading is left to whoever needs the tables, so that a data set is small enough to be sent to another process. A file of more
queries than `MAX_QUERIES` is sampled by hash, and the notes say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import msgspec

from evals.adversaries import attacked
from evals.protocols import FOLDS, Protocol, held_out_protocol, known_protocols, make_protocol, protocol_files
from evals.tasks.reading import read_rows
from routers.data.loading import read_table
from routers.data.table import RewardTable

MAX_QUERIES = 50_000


@dataclass(frozen=True, slots=True)
class DataSet:
    """name: of the protocol where `is_named`, else anything. scenario: an attack on it (`evals/adversaries.py`)."""

    name: str
    files: tuple[Path, ...]
    is_named: bool = False
    folds: int = FOLDS
    scenario: str | None = None

    def protocol(self, seed: int, experts: Sequence[str] = ()) -> Protocol:
        """experts: a fleet, by default every expert. Raises ValueError for data that can't be split, or have none of them."""
        tables, notes = _read(self.files, tuple(path.stat().st_mtime_ns for path in self.files))
        if missing := [name for name in experts if not any(name in table.experts for table in tables)]:
            known = ", ".join(dict.fromkeys(name for table in tables for name in table.experts))
            raise ValueError(f"no outcome has the expert '{missing[0]}', expected some of {known}")
        if self.is_named:
            found = make_protocol(self.name, tables, seed, experts)
        else:
            found = held_out_protocol(self.name, tables[0].only(experts) if experts else tables[0], seed, self.folds)
        found = replace(found, notes=(*notes, *found.notes))
        return found if self.scenario is None else attacked(found, self.scenario, seed)


def named_data_sets(folder: Path, names: Sequence[str] = ()) -> tuple[DataSet, ...]:
    """These protocols, by default every one whose files are in `folder`. Raises ValueError for an unknown one."""
    known = known_protocols(folder)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no data set '{unknown[0]}' in {folder}, expected one of {', '.join(known) or 'none'}")
    return tuple(DataSet(name, protocol_files(name, folder), is_named=True) for name in names or known)


def file_data_sets(paths: Sequence[Path], folds: int = FOLDS) -> tuple[DataSet, ...]:
    """One for each outcome file, named after it."""
    names = [path.name.removesuffix(".gz").rpartition(".")[0] or path.name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    return tuple(DataSet(name, (path,), folds=folds) for name, path in zip(names, paths, strict=True))


def read_paraphrases(path: Path) -> dict[str, str]:
    """Queries and the same in other words, from JSON lines of `query` and `paraphrase`. Raises `DataError`, with the line."""
    return {row.query: row.paraphrase for _, row in read_rows(path, _Paraphrase)}


class _Paraphrase(msgspec.Struct, forbid_unknown_fields=True):
    query: str
    paraphrase: str


@lru_cache(maxsize=4)
def _read(files: tuple[Path, ...], changed: tuple[int, ...]) -> tuple[tuple[RewardTable, ...], tuple[str, ...]]:
    """Kept while the files don't change, because the settings of one data set are measured one after another."""
    read = [read_table([file], max_queries=MAX_QUERIES) for file in files]
    return tuple(table for table, _ in read), tuple(note for _, reading in read for note in reading.notes)
