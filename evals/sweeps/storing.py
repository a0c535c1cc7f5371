"""A sweep on disk: a folder that an interrupted sweep is resumed from, and that reports are made of.

    store = Store(Path("out"))
    store.has_run(key, "auto"); store.put_run(key, run)
    read_sweep(Path("out")).rows

`sweep.json` says what was asked for, `settings/KEY.npz` what is measured, `settings/KEY/ROUTER.npz` what a router said, and
`results.parquet` has the rows. A key is a hash of all that a setting's results depend on, so that a sweep with one more router,
seed or data set measures just what is new. Files are whole or not there. Nothing in them is executed when they are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evals.files import write_whole
from evals.sweeps.nouns import Row, Run, Setting, Sweep, Tested
from routers.data.table import RewardTable

RESULTS = "results.parquet"
INDEX = "sweep.json"
VERSION = 2


@dataclass(frozen=True)
class Index:
    """What a sweep is of. settings: with the key of each. routers: their types. failures: what couldn't be measured."""

    lambdas: tuple[float, ...]
    settings: Mapping[Setting, str]
    routers: tuple[str, ...]
    failures: tuple[str, ...] = ()


class Store:
    """folder: made when something is put there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has_run(self, key: str, router: str) -> bool:
        return self._run(key, router).is_file() and self._tested(key).is_file()

    def put_run(self, key: str, run: Run) -> None:
        told = {"router": run.router, "fit_s": run.fit_s, "decision_ms": run.decision_ms, "flips": dict(run.flips)}
        _write_npz(self._run(key, run.router), told, {"predicted": run.predicted})

    def run(self, key: str, router: str) -> Run:
        told, arrays = _read_npz(self._run(key, router))
        return Run(predicted=arrays["predicted"], **told)

    def put_tested(self, key: str, tested: Tested) -> None:
        """Unless it is there."""
        if self._tested(key).is_file():
            return
        table = tested.table
        told = {
            "setting": asdict(tested.setting),
            **{name: getattr(table, name) for name in ("queries", "experts", "groups", "splits", "ids", "cost_unit")},
            "cents_per_unit": tested.cents_per_unit,
            "num_leaked": tested.num_leaked,
            "notes": tested.notes,
        }
        arrays = {f"table_{name}": getattr(table, name) for name in _TABLE_ARRAYS}
        _write_npz(self._tested(key), told, {**arrays, **{name: getattr(tested, name) for name in _TESTED_ARRAYS}})

    def tested(self, key: str) -> Tested:
        told, arrays = _read_npz(self._tested(key))
        texts = {name: tuple(told[name]) for name in ("queries", "experts", "groups", "splits", "ids")}
        numbers = {name: arrays[f"table_{name}"] for name in _TABLE_ARRAYS}
        columns: dict[str, Any] = {**texts, **numbers, "cost_unit": told["cost_unit"]}
        return Tested(
            setting=Setting(**told["setting"]),
            table=RewardTable(**columns),
            cents_per_unit=told["cents_per_unit"],
            num_leaked=told["num_leaked"],
            notes=tuple(told["notes"]),
            **{name: arrays[name] for name in _TESTED_ARRAYS},
        )

    def put_index(self, index: Index) -> None:
        body = {
            "version": VERSION,
            "lambdas": index.lambdas,
            "settings": [{**asdict(setting), "key": key} for setting, key in index.settings.items()],
            "routers": index.routers,
            "failures": index.failures,
        }
        write_whole(self.folder / INDEX, lambda file: file.write(json.dumps(body, indent=1).encode()))

    def index(self) -> Index:
        """Raises ValueError for a folder without a sweep, or one that another version wrote."""
        path = self.folder / INDEX
        if not path.is_file():
            raise ValueError(f"{self.folder}: holds no sweep, expected a folder that `switchyard bench --out` wrote")
        try:
            body = json.loads(path.read_bytes())
            if body["version"] != VERSION:
                raise ValueError(f"{path}: was written by another version ({body['version']}), expected {VERSION}")
            settings = {Setting(**{n: told[n] for n in _SETTING}): told["key"] for told in body["settings"]}
            return Index(tuple(body["lambdas"]), settings, tuple(body["routers"]), tuple(body["failures"]))
        except (KeyError, TypeError, json.JSONDecodeError) as exc:
            raise ValueError(f"{path}: is no index of a sweep, expected one that `switchyard bench` wrote") from exc

    def require_own(self) -> None:
        """Raises ValueError for a folder that holds something, but no sweep."""
        if self.folder.is_dir() and any(self.folder.iterdir()):
            self.index()

    def _tested(self, key: str) -> Path:
        return self.folder / "settings" / f"{key}.npz"

    def _run(self, key: str, router: str) -> Path:
        return self.folder / "settings" / key / f"{router}.npz"


def read_sweep(folder: Path) -> Sweep:
    """Raises ValueError for a folder that holds none, OSError for one whose files can't be read."""
    store = Store(folder)
    index = store.index()
    runs = {
        (setting, router): store.run(key, router)
        for setting, key in index.settings.items()
        for router in index.routers
        if store.has_run(key, router)
    }
    measured = dict.fromkeys(setting for setting, _ in runs)
    tested = {setting: store.tested(index.settings[setting]) for setting in measured}
    notes = dict.fromkeys(f"{setting.title}: {note}" for setting, one in tested.items() for note in one.notes)
    rows = read_rows(folder / RESULTS) if (folder / RESULTS).is_file() else ()
    return Sweep(index.lambdas, tested, runs, rows, (*notes, *index.failures))


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """As Parquet, a column per field; the files are those that data people read with whatever they have."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([_plain(row) for row in rows], schema=_schema())
    write_whole(path, lambda file: pq.write_table(table, file, compression="zstd"))


def read_rows(path: Path) -> tuple[Row, ...]:
    """Raises ValueError for a file that isn't such a table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        return tuple(_row(told) for told in pq.read_table(path).to_pylist())
    except (pa.ArrowInvalid, KeyError, TypeError) as exc:
        raise ValueError(f"{path}: is no table that `switchyard bench` wrote ({exc})") from exc


def row_json(row: Row) -> dict[str, Any]:
    """As `--json` prints it: null for what is unknown, and without the reward of every query."""
    told = _plain(row)
    del told["earned"]
    told["share"] = dict(row.share)
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value for name, value in told.items()
    }


_SETTING = ("data", "fleet", "seed", "scenario")
_TABLE_ARRAYS = ("rewards", "costs", "weights")
_TESTED_ARRAYS = ("fold", "cents", "weights", "trained_rewards", "trained_cents", "group_best")


def _schema() -> Any:
    """The same for every sweep, whatever is null in it, so that tables of several can be joined."""
    import pyarrow as pa

    interval = pa.list_(pa.float64())
    special = {
        **dict.fromkeys(("data", "fleet", "router", "scenario", "cost_unit", "queries"), pa.string()),
        **dict.fromkeys(("seed", "n"), pa.int64()),
        **dict.fromkeys(("ci95", "gain_ci95"), interval),
        "earned": pa.list_(pa.float32()),
        "share": pa.list_(pa.struct([("expert", pa.string()), ("share", pa.float64())])),
    }
    return pa.schema([(_column(field.name), special.get(field.name, pa.float64())) for field in fields(Row)])


def _column(name: str) -> str:
    return "lambda" if name == "lambda_" else name


def _plain(row: Row) -> dict[str, Any]:
    """share: as a list of pairs, which is what Parquet's maps are read as."""
    told = {_column(field.name): getattr(row, field.name) for field in fields(row)}
    return {
        **told,
        "ci95": list(row.ci95),
        "gain_ci95": list(row.gain_ci95),
        "earned": list(row.earned),
        "share": _pairs(row),
    }


def _pairs(row: Row) -> list[dict[str, Any]]:
    return [{"expert": name, "share": share} for name, share in row.share.items()]


def _row(told: Mapping[str, Any]) -> Row:
    """A metric that came later than the file is not known."""
    known = {field.name: _column(field.name) for field in fields(Row) if _column(field.name) in told}
    return Row(**{name: _noun(name, told[column]) for name, column in known.items()})


def _noun(name: str, value: Any) -> Any:
    if name == "share":
        return {pair["expert"]: pair["share"] for pair in value}
    return tuple(value) if isinstance(value, list) else value


def _write_npz(path: Path, told: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    words = np.frombuffer(json.dumps(told).encode(), dtype=np.uint8)
    columns: dict[str, Any] = {"told": words, **arrays}
    write_whole(path, lambda file: np.savez_compressed(file, **columns))


def _read_npz(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    told: dict[str, Any] = json.loads(arrays.pop("told").tobytes())
    return told, arrays
