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
from typing import Any

Work = Sequence[tuple[Callable[..., Any], tuple[Any, ...]]]
Spread = Callable[[Work], Iterator[Any]]


class WorkerDied(RuntimeError):
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
def on_ray() -> Iterator[Spread]:
    """On the cluster that `$RAY_ADDRESS` names, else on one that is started here and stopped afterwards.

    Raises ImportError without the extra `ray`.
    """
    try:
        import ray
    except ImportError as exc:
        raise ImportError("--engine ray needs optional dependencies: pip install 'switchyard-llm[ray]'") from exc
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    alone = {"_node_ip_address": "127.0.0.1", "include_dashboard": False, "num_cpus": os.cpu_count()}
    ray.init(log_to_driver=False, **({} if "RAY_ADDRESS" in os.environ else alone))
    call = ray.remote(num_cpus=1)(_call)

    def spread(work: Work) -> Iterator[Any]:
        pending = [call.remote(function, arguments) for function, arguments in work]
        while pending:
            done, pending = ray.wait(pending, num_returns=1)
            yield ray.get(done[0])

    try:
        yield spread
    finally:
        ray.shutdown()


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return function(*arguments)
