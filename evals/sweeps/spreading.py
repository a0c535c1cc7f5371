"""Calls done elsewhere, in processes of this machine or on a Ray cluster, and their results as they come.

    with processes(2) as spread:
        for result in spread([(function, arguments), ...]): ...

Functions and arguments are sent by pickle among our own processes. Linear algebra keeps to one thread in each process: there is one
process a core, and results don't depend on the machine. Leaving the block ends what still runs. Not here: what is called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from orchestrator.errors import DataError

Work = Sequence[tuple[Callable[..., Any], tuple[Any, ...]]]
Spread = Callable[[Work], Iterator[Any]]

READ_BY_CALLS = ("SWITCHYARD_CONFIG", "SWITCHYARD_CACHE")
"""Of the environment, which on a node of a cluster is another."""


class WorkerDied(DataError):
    """A process ended before its work did, which nearly always means that memory ran out."""


@contextmanager
def processes(workers: int) -> Iterator[Spread]:
    """On this machine; with one worker in this very process. Raises `WorkerDied`."""
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    def spread(work: Work) -> Iterator[Any]:
        calls = (delayed(function)(*arguments) for function, arguments in work)
        try:
            yield from Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)(calls)
        except TerminatedWorkerError as exc:
            raise WorkerDied(
                f"one of {workers} processes died, probably for want of memory; what was measured is kept: "
                "run it again with fewer --workers"
            ) from exc

    yield spread


@contextmanager
def on_ray(folder: Path, address: str | None = None) -> Iterator[Spread]:
    """On the cluster at `address` or `$RAY_ADDRESS`, else on one that is started here and stopped afterwards.

    folder: which calls write to. Raises `MissingExtra` without the extra `ray`, `ConfigError` when there is no such cluster,
    ValueError when a node doesn't have the folder, and `WorkerDied`.
    """
    from orchestrator.engines.ray.cluster import join

    cluster = join(address, {name: os.environ[name] for name in READ_BY_CALLS if name in os.environ})
    try:
        _require_shared(folder)
        yield _spread_on_ray
    finally:
        cluster.leave()


def _require_shared(folder: Path) -> None:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from orchestrator.engines.ray.cluster import living_nodes

    look, nodes = ray.remote(num_cpus=0)(Path.exists), living_nodes()
    with NamedTemporaryFile(dir=folder, prefix=".seen-") as mark:
        there = (NodeAffinitySchedulingStrategy(node.id, soft=False) for node in nodes)
        seen = [look.options(scheduling_strategy=strategy).remote(Path(mark.name)) for strategy in there]
        missing = [node.address for node, is_seen in zip(nodes, ray.get(seen), strict=True) if not is_seen]
    if missing:
        raise ValueError(f"{folder}: is not there on the node at {missing[0]}; expected a folder that all nodes share")


def _spread_on_ray(work: Work) -> Iterator[Any]:
    import ray
    from ray.exceptions import RayError, RayTaskError

    call, where = ray.remote(num_cpus=1)(_call), Path.cwd()
    pending = [call.remote(where, function, arguments) for function, arguments in work]
    while pending:
        done, pending = ray.wait(pending, num_returns=1)
        try:
            result = ray.get(done[0])
        except RayTaskError as exc:
            raise exc.cause from exc
        except RayError as exc:
            raise WorkerDied(
                f"a call was lost on the cluster; what was measured is kept: run it again ({exc})"
            ) from exc
        yield result


def _call(where: Path, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """where: the folder that paths are relative to."""
    os.chdir(where)
    return function(*arguments)
