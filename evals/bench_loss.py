"""`python -m evals.bench loss`: how long nobody is answered after a node was lost, on nodes that are emulated on this machine.

    for row in bench_loss(repeats=5):
        row.lost, row.median_s, row.worst_s, row.failed

Requests for one expert come all the time. Then the `raylet` of a node is killed, and what ran there ends with it: the node that has
the expert's only replica in memory, the scheduler's, or one that is both. Timed is how long nobody is answered then; where the
replica was lost, a load on another node is part of it. The gateway is on a node that stays.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import aiohttp

from evals.emulation import EmulatedNodes, RunningService, nodes_of, service_on, sleepers

LOSSES = ("replica", "scheduler", "both")
EXPERT = "expert-0"
TOO_SMALL_GB, ROOMY_GB = 0.05, 1.0
"""Of a node where the expert has no room, the gateway's, and of those where it has."""
TRIES = 30
GAP_S = 0.05
STEADY_S = 1.0
ANSWER_S = 60.0


@dataclass(frozen=True, slots=True)
class Row:
    """median_s, worst_s: the longest time without an answer after the kill, of the repeats.

    asked: requests that came after the kill, failed: those of them that got no answer. broken: the same of those under way then.
    """

    lost: str
    repeats: int
    median_s: float
    worst_s: float
    asked: int
    failed: int
    broken: int


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. at, ended: monotonic seconds."""

    at: float
    ended: float
    answered: bool


def bench_loss(losses: Sequence[str] = LOSSES, repeats: int = 5, watch_s: float = 12.0) -> Iterator[Row]:
    """A row for each kind of node, every repeat on nodes of its own. watch_s: how long requests come after the kill."""
    for lost in losses:
        runs = [_run(lost, watch_s) for _ in range(repeats)]
        times = [_unanswered_s(killed_at, requests) for killed_at, requests in runs]
        later = [each for killed_at, requests in runs for each in requests if each.at >= killed_at]
        under_way = [each for at, requests in runs for each in requests if each.at < at <= each.ended]
        broken = _failures(under_way)
        yield Row(lost, repeats, median(times), max(times), len(later), _failures(later), broken)


def _run(lost: str, watch_s: float) -> tuple[float, list[Asked]]:
    """When the node was killed, and all requests. Ray chooses the scheduler's node: it is started until that is as is wanted."""
    with tempfile.TemporaryDirectory() as folder, nodes_of((TOO_SMALL_GB, ROOMY_GB, ROOMY_GB)) as nodes:
        for _ in range(TRIES):
            with service_on(sleepers(Path(folder), 1)) as service:
                if (run := asyncio.run(_lose(lost, nodes, service, watch_s))) is not None:
                    return run
    raise RuntimeError(f"in {TRIES} tries no node was what was to be lost: {lost}")


async def _lose(
    lost: str, nodes: EmulatedNodes, service: RunningService, watch_s: float
) -> tuple[float, list[Asked]] | None:
    """None where no node is what is to be lost."""
    url = f"http://127.0.0.1:{service.port}/v1/chat/completions"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWER_S)) as http:
        await _ask(http, url)
        (holder,) = await asyncio.to_thread(service.holders, EXPERT)
        scheduler = await asyncio.to_thread(service.scheduler_at)
        victim = scheduler if lost == "scheduler" else holder
        if (holder == scheduler) != (lost == "both") or victim.memory_bytes < ROOMY_GB * 1e9:
            return None
        asking = asyncio.create_task(_keep_asking(http, url, STEADY_S + watch_s))
        await asyncio.sleep(STEADY_S)
        killed_at = await asyncio.to_thread(nodes.kill, victim)
        return killed_at, await asking


async def _keep_asking(http: aiohttp.ClientSession, url: str, seconds: float) -> list[Asked]:
    until, asked = time.monotonic() + seconds, []
    while time.monotonic() < until:
        asked.append(asyncio.create_task(_ask(http, url)))
        await asyncio.sleep(GAP_S)
    return await asyncio.gather(*asked)


async def _ask(http: aiohttp.ClientSession, url: str) -> Asked:
    body = {"model": EXPERT, "messages": [{"role": "user", "content": "Hello"}]}
    at = time.monotonic()
    try:
        async with http.post(url, json=body) as response:
            await response.read()
            answered = response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        answered = False
    return Asked(at, time.monotonic(), answered)


def _unanswered_s(killed_at: float, requests: Sequence[Asked]) -> float:
    """The longest time between two answers."""
    answers = sorted(each.ended for each in requests if each.answered and each.ended >= killed_at)
    return max(after - before for before, after in pairwise((killed_at, *answers)))


def _failures(requests: Sequence[Asked]) -> int:
    return sum(not each.answered for each in requests)
