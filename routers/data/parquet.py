"""Outcome files as Parquet: rows to columns and back. `routers/data/outcomes.py` calls this and checks what the rows hold.

    with open("train.parquet", "wb") as file:
        write_rows(file, [{"query": "Which?", "rewards": {"small": 1.0, "large": 0.5}}])
    [as_row(columns) for columns in read_columns(Path("train.parquet"))]      # the same rows

Written are `id, query, group, split, cost_unit, target` as strings, `rewards, costs, propensity` as `map<string, double>` and
`answers` as `map<string, string>`. For these four, maps, structs (a null field is an expert that was not tried) and JSON texts
are read; for `query`, text or a list of messages. Streamed, not held whole. Needs the `train` extra.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from io import BufferedIOBase
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from routers.data.outcomes import Invalid, OutcomeError

_BATCH_ROWS = 1_000
_NUMBERS = ("rewards", "costs", "propensity")
_PER_EXPERT = (*_NUMBERS, "answers")


def pyarrow() -> ModuleType:
    """The library, imported now. Raises ImportError with the line that installs it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as exc:
        raise ImportError("Parquet needs optional dependencies: pip install 'switchyard-llm[train]'") from exc
    module: ModuleType = pyarrow
    return module


def read_columns(path: Path) -> Iterator[dict[str, Any]]:
    """Every row of a Parquet file, as it is there. Raises `OutcomeError` for a file that is damaged or no Parquet."""
    pa = pyarrow()
    with path.open("rb") as file:
        try:
            table = pa.parquet.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
            for batch in table.iter_batches(batch_size=_BATCH_ROWS):
                yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as exc:
            raise OutcomeError(f"{path}: expected a Parquet file, got a damaged one ({exc})") from exc


def as_row(columns: Mapping[str, Any]) -> dict[str, Any]:
    """One row as an outcome file's line would hold it, nulls left out. Raises `Invalid` for broken JSON in it."""
    given = {name: value for name, value in columns.items() if value is not None and not _is_index(name)}
    row = {name: _per_expert(name, value) if name in _PER_EXPERT else value for name, value in given.items()}
    if isinstance(given.get("answers"), dict):
        rewards = row.get("rewards")
        tried = rewards if isinstance(rewards, dict) else {}
        row["answers"] = {
            expert: cell for expert, cell in row["answers"].items() if cell is not None or expert in tried
        }
    return row


def write_rows(file: BufferedIOBase, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write lines of an outcome file, `query` as text, and return their number."""
    pa = pyarrow()
    schema = _schema(pa)
    remaining, count = iter(rows), 0
    with pa.parquet.ParquetWriter(file, schema) as writer:
        while batch := [_encodable(row) for row in islice(remaining, _BATCH_ROWS)]:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            count += len(batch)
    return count


def _schema(pa: ModuleType) -> Any:
    text, numbers = pa.string(), pa.map_(pa.string(), pa.float64())
    texts = dict.fromkeys(("id", "query", "group", "split", "cost_unit", "target"), text)
    return pa.schema({**texts, **dict.fromkeys(_NUMBERS, numbers), "answers": pa.map_(text, text)})


def _is_index(name: str) -> bool:
    """A data frame's index, which pandas writes along."""
    return name.startswith("__index_level_")


def _per_expert(name: str, value: Any) -> Any:
    """A map, a struct or a JSON text as a mapping; anything else as it is, for the check to refuse."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as exc:
            raise Invalid(
                f"field '{name}': expected an object with a value per expert, got broken JSON ({exc})"
            ) from exc
    if isinstance(value, list) and all(isinstance(item, tuple) and len(item) == 2 for item in value):
        return dict(value)
    if isinstance(value, dict) and name in _NUMBERS:
        return {expert: number for expert, number in value.items() if number is not None}
    return value


def _encodable(row: Mapping[str, Any]) -> dict[str, Any]:
    """A lone surrogate, which no Parquet string can hold, becomes the replacement character."""
    encoded: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            encoded[name] = [(_text(expert), _text(cell)) for expert, cell in value.items()]
        else:
            encoded[name] = _text(value)
    return encoded


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
