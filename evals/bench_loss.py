"""`python -m evals.bench loss`: how long nobody is answered after a node was lost, on nodes that are emulated on this machine.

    for row in bench_loss(repeats=5):
        row.lost, row.median_s, row.worst_s, row.failed

Requests for one expert come all the time. Then the `raylet` of a node is killed, and what ran there ends with it: the node that has
the expert's only replica in memory, the scheduler's, or one that is both. Timed is from the kill to the first answer to a request
that came after it; where the replica was lost, that takes a load on another node. The gateway is on a node that stays.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import aiohttp

from evals.emulation import EmulatedNodes, RunningService, nodes_of, service_on, sleepers
from orchestrator.engines.ray.cluster import living_nodes

LOSSES = ("replica", "scheduler", "both")
EXPERT = "expert-0"
TOO_SMALL_GB, SMALL_GB, ROOMY_GB = 0.05, 1.0, 2.0
"""Of nodes where the expert has no room, where it has, and the largest, where the scheduler is."""
GAP_S = 0.05
STEADY_S = 1.0
ANSWER_S = 60.0


@dataclass(frozen=True, slots=True)
class Row:
    """asked: requests that came after the kill, failed: those of them that got no answer.

    broken: the same of those that were under way when the node was killed.
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
    """One request. at, ended: `time.perf_counter`."""

    at: float
    ended: float
    answered: bool


def bench_loss(losses: Sequence[str] = LOSSES, repeats: int = 5, watch_s: float = 12.0) -> Iterator[Row]:
    """A row for each kind of node, every repeat on nodes of its own. watch_s: how long requests come after the kill."""
    for lost in losses:
        runs = [_run(lost, watch_s) for _ in range(repeats)]
        times = [_until_answered(killed_at, requests) for killed_at, requests in runs]
        later = [each for killed_at, requests in runs for each in requests if each.at >= killed_at]
        under_way = [each for at, requests in runs for each in requests if each.at < at <= each.ended]
        yield Row(lost, repeats, median(times), max(times), len(later), _failures(later), _failures(under_way))


def _run(lost: str, watch_s: float) -> tuple[float, list[Asked]]:
    """When the node was killed, and all requests. An expert that nobody has is first loaded on the first node with room for it."""
    others = (ROOMY_GB, SMALL_GB) if lost == "both" else (SMALL_GB, ROOMY_GB)
    with (
        tempfile.TemporaryDirectory() as folder,
        nodes_of((TOO_SMALL_GB, *others)) as nodes,
        service_on(sleepers(Path(folder), 1)) as service,
    ):
        return asyncio.run(_lose(lost, nodes, service, watch_s))


async def _lose(lost: str, nodes: EmulatedNodes, service: RunningService, watch_s: float) -> tuple[float, list[Asked]]:
    url = f"http://127.0.0.1:{service.port}/v1/chat/completions"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWER_S)) as http:
        await _ask(http, url)
        roomy = max(living_nodes(), key=lambda node: node.memory_bytes)
        (holder,) = await asyncio.to_thread(service.holders, EXPERT)
        assert (holder == roomy) == (lost == "both"), "it was loaded on another node"
        asking = asyncio.create_task(_keep_asking(http, url, STEADY_S + watch_s))
        await asyncio.sleep(STEADY_S)
        killed_at = time.perf_counter()
        await asyncio.to_thread(nodes.kill, holder if lost == "replica" else roomy)
        return killed_at, await asking


async def _keep_asking(http: aiohttp.ClientSession, url: str, seconds: float) -> list[Asked]:
    until, asked = time.perf_counter() + seconds, []
    while time.perf_counter() < until:
        asked.append(asyncio.create_task(_ask(http, url)))
        await asyncio.sleep(GAP_S)
    return await asyncio.gather(*asked)


async def _ask(http: aiohttp.ClientSession, url: str) -> Asked:
    body = {"model": EXPERT, "messages": [{"role": "user", "content": "Hello"}]}
    at = time.perf_counter()
    try:
        async with http.post(url, json=body) as response:
            await response.read()
            answered = response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        answered = False
    return Asked(at, time.perf_counter(), answered)


def _until_answered(killed_at: float, requests: Sequence[Asked]) -> float:
    return min(each.ended for each in requests if each.at >= killed_at and each.answered) - killed_at


def _failures(requests: Sequence[Asked]) -> int:
    return sum(not each.answered for each in requests)
