"""A few threads for callables that may never return: they are daemons, so that what hangs can't keep the interpreter from ending.

    threads = DaemonThreads(8, name="calculator")
    text = await threads.run(function, "What is 2 + 2?")        # what it returns, or raises

The standard library's executor waits for its threads when the interpreter ends. Threads are started as they are needed, and end
when the object is gone. A call that was cancelled before its turn is not made; one that runs can't be stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any


@dataclass(frozen=True, slots=True)
class _Job:
    """One call. result: `(value, None)` or `(None, exception)`, in the loop that waits for it."""

    function: Callable[[Any], Any]
    argument: Any
    loop: asyncio.AbstractEventLoop
    result: asyncio.Future[tuple[Any, BaseException | None]]


class DaemonThreads:
    """num_threads: how many calls run at once; the others wait."""

    def __init__(self, num_threads: int, name: str) -> None:
        self._num_threads = num_threads
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0
        weakref.finalize(self, self._jobs.put, None)

    async def run(self, function: Callable[[Any], Any], argument: Any) -> Any:
        """Raises whatever the function raises."""
        loop = asyncio.get_running_loop()
        job = _Job(function, argument, loop, loop.create_future())
        self._jobs.put(job)
        if not self._idle.acquire(blocking=False) and self._started < self._num_threads:
            name = f"{self._name}_{self._started}"
            self._started += 1
            threading.Thread(target=_work, args=(self._jobs, self._idle), name=name, daemon=True).start()
        value, exception = await job.result
        if exception is not None:
            raise exception
        return value


def _work(jobs: SimpleQueue[_Job | None], idle: threading.Semaphore) -> None:
    """Job after job, until the None that says the owner is gone; it is put back for the other threads."""
    while (job := jobs.get()) is not None:
        if not job.result.cancelled():
            result = _call(job)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                job.loop.call_soon_threadsafe(_settle, job.result, result)
        del job
        idle.release()
    jobs.put(None)


def _call(job: _Job) -> tuple[Any, BaseException | None]:
    try:
        return job.function(job.argument), None
    except BaseException as exception:  # noqa: BLE001  it is raised where the result is waited for
        return None, exception


def _settle(future: asyncio.Future[tuple[Any, BaseException | None]], result: tuple[Any, BaseException | None]) -> None:
    if not future.done():
        future.set_result(result)
