"""A sweep: every router in every setting, over several processes, from where an earlier run of it stopped.

    plan = SweepPlan(data=named_data_sets(folder), routers=("auto", "cluster"), seeds=5, lambdas=(0.0, 1.0))
    sweep = run_sweep(plan, Path("out"))
    sweep.rows[0].gain

Work goes out a router and a setting at a time; each result is on disk before it counts as done, so that Ctrl-C loses what is under
way and no more. Texts are encoded first, once, and kept in the model cache. With `engine="ray"` the same jobs go to a cluster,
whose nodes must see the folder and the files under the same paths.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar

from evals.sweeps.datasets import DataSet, read_paraphrases
from evals.sweeps.measuring import Prepared, prepare
from evals.sweeps.nouns import WHOLE, Row, Setting, Sweep
from evals.sweeps.rows import rows_of_setting
from evals.sweeps.spreading import Spread, on_ray, processes
from evals.sweeps.storing import RESULTS, Index, Store, read_sweep, write_rows
from orchestrator.fleet.configfile import config_if_any
from orchestrator.fleet.encoding import training_encoder
from routers.base import Encoder
from routers.registry import router_class
from routers.training.judging import Progress, quiet

Engine = Literal["local", "ray"]
T = TypeVar("T")
LAMBDAS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
AT_ONCE = 512
"""Texts that are encoded between two looks at the progress."""


@dataclass(frozen=True)
class SweepPlan:
    """fleets: experts by name, none of them named for all. lambdas: reward given up per US cent, by default `LAMBDAS`.

    seeds: how many, of folds and routers. features, config: as of `switchyard train`. usd_per_unit: what costs are worth that
    aren't in USD; without it they have no lambda. paraphrases: a file of queries in other words.
    """

    data: tuple[DataSet, ...]
    routers: tuple[str, ...]
    seeds: int = 1
    lambdas: tuple[float, ...] | None = None
    fleets: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {WHOLE: ()})
    features: str | None = None
    config: Path | None = None
    usd_per_unit: float | None = None
    paraphrases: Path | None = None

    def jobs(self) -> Iterator[_Job]:
        """Settings of the same data stand together, because whoever measured one has read the data."""
        for data in self.data:
            for fleet, experts in self.fleets.items():
                for seed in range(self.seeds):
                    yield _Job(Setting(data.name, fleet, seed, data.scenario or ""), data, experts, self)


@dataclass(frozen=True)
class _Job:
    """A setting, and all that its results depend on."""

    setting: Setting
    data: DataSet
    experts: tuple[str, ...]
    plan: SweepPlan

    def key(self, features: str) -> str:
        """The same for the same results; features: the fingerprint of what texts are read with."""
        told = {
            "setting": asdict(self.setting),
            "files": [_digest(path) for path in self.data.files],
            "folds": self.data.folds,
            "experts": self.experts,
            "features": features,
            "usd_per_unit": self.plan.usd_per_unit,
            "paraphrases": None if self.plan.paraphrases is None else _digest(self.plan.paraphrases),
            "code": _code(),
        }
        return hashlib.blake2b(json.dumps(told).encode(), digest_size=10).hexdigest()


def run_sweep(
    plan: SweepPlan, folder: Path, *, workers: int = 1, engine: Engine = "local", progress: Progress = quiet
) -> Sweep:
    """Raises ValueError for data that can't be read or split, unknown routers, and a folder that holds something else.

    A router that can't be fitted somewhere costs no other anything: the notes say why. Raises ValueError if none could.
    """
    for name in plan.routers:
        if not hasattr(router_class(name), "fit_encoded"):
            raise ValueError(f"a router of type '{name}' does not learn from outcomes, so there is nothing to sweep")
    jobs = list(plan.jobs())
    if len({job.setting for job in jobs}) < len(jobs):
        raise ValueError("two data sets have one name: give each file a name of its own")
    store, encoder = Store(folder), _encoder(plan.features, plan.config)
    store.require_own()
    keys = {job.setting: job.key(encoder.fingerprint) for job in jobs}
    missing = [
        (job, keys[job.setting], router)
        for job in jobs
        for router in plan.routers
        if not store.has_run(keys[job.setting], router)
    ]
    _encode(plan, {job.data: job for job, _, _ in reversed(missing)}, encoder, progress)
    lambdas = plan.lambdas or LAMBDAS
    store.put_index(Index(lambdas, keys, plan.routers, ()))  # what is left after an interruption is known for a sweep
    with _spreading(engine, workers, plan.config, folder) as spread:
        work = [(_measure, (job, key, router, folder)) for job, key, router in missing]
        results = _done(spread(work), len(work), "fitting routers", progress)
        failures = tuple(dict.fromkeys(result for result in results if result is not None))
        if failures and len(failures) == len(jobs) * len(plan.routers):
            raise ValueError(failures[0])
        store.put_index(Index(lambdas, keys, plan.routers, failures))
        counting = [(rows_of_setting, (folder, key, plan.routers, lambdas)) for key in keys.values()]
        rows = _done(spread(counting), len(counting), "counting", progress)
    write_rows(folder / RESULTS, sorted((row for found in rows for row in found), key=_order))
    return read_sweep(folder)


def _spreading(engine: Engine, workers: int, config: Path | None, folder: Path) -> AbstractContextManager[Spread]:
    return on_ray(folder, config_if_any(config)[0].ray.address) if engine == "ray" else processes(workers)


def _order(row: Row) -> tuple[object, ...]:
    return row.data, row.scenario, row.fleet, row.seed, row.router, row.lambda_


def _encode(plan: SweepPlan, data: Mapping[DataSet, _Job], encoder: Encoder, progress: Progress) -> None:
    """Every text once, so that no two processes do it. Raises ValueError for data that leave nothing to measure."""
    for number, (data_set, job) in enumerate(data.items()):
        progress(f"reading {data_set.name}", number, len(data))
        prepared = _prepare(job, encoder)
        if prepared.tested.has_costs and prepared.tested.cents_per_unit is None and any(plan.lambdas or ()):
            unit = prepared.tested.table.cost_unit
            raise ValueError(f"{data_set.name}: costs are in {unit}, so a lambda needs --usd-per-unit")
        found = prepared.texts
        for start in range(0, len(found), AT_ONCE):
            progress(f"encoding {data_set.name}", start, len(found))
            encoder.encode(found[start : start + AT_ONCE])


def _measure(job: _Job, key: str, router: str, folder: Path) -> str | None:
    """In a process of its own: the run and its setting are on disk afterwards. What is wrong, if it can't be done."""
    store = Store(folder)
    try:
        prepared = _prepared(job, key)
        run = prepared.run(router)
    except ValueError as exc:
        return f"{job.setting.title}, seed {job.setting.seed}: {router}: {exc}"
    store.put_tested(key, prepared.tested)
    store.put_run(key, run)
    return None


_latest: dict[str, Prepared] = {}
"""Of this process, the setting it prepared last."""


def _prepared(job: _Job, key: str) -> Prepared:
    if key not in _latest:
        _latest.clear()
        _latest[key] = _prepare(job, _encoder(job.plan.features, job.plan.config))
    return _latest[key]


def _prepare(job: _Job, reader: Encoder) -> Prepared:
    plan = job.plan
    return prepare(
        job.setting,
        job.data,
        experts=job.experts,
        reader=reader,
        usd_per_unit=plan.usd_per_unit,
        paraphrases={} if plan.paraphrases is None else read_paraphrases(plan.paraphrases),
    )


@lru_cache(maxsize=1)
def _encoder(features: str | None, config: Path | None) -> Encoder:
    return training_encoder(features, *config_if_any(config))


@lru_cache(maxsize=1)
def _code() -> str:
    """Of what fits and measures: results of other code are not resumed."""
    root = Path(__file__).parents[2]
    files = [
        *(root / "routers").rglob("*.py"),
        *(root / "kernels").rglob("*.py"),
        *(root / "evals/metrics").glob("*.py"),
    ]
    files += [root / f"evals/{name}.py" for name in ("protocols", "adversaries", "sweeps/measuring", "sweeps/datasets")]
    return hashlib.blake2b("".join(map(_digest, sorted(files))).encode(), digest_size=10).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _done(results: Iterator[T], total: int, stage: str, progress: Progress) -> list[T]:
    found: list[T] = []
    progress(stage, 0, total)
    for result in results:
        found.append(result)
        progress(stage, len(found), total)
    return found
