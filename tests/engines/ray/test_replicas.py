"""A real encoder on a cluster of two nodes: replicas come and go with the load, and live where a plan puts them."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from ray.cluster_utils import Cluster
from ruamel.yaml import YAML

from orchestrator.engines.ray.machines import Machines
from orchestrator.fleet.configfile import read_config
from orchestrator.gateway.app import create_app
from orchestrator.scheduler.base import LeaseOutcome, LeaseRequest, MemoryStatus
from orchestrator.scheduler.driver import LocalScheduler
from orchestrator.service import make_ledger
from orchestrator.types import Attempt, Decision
from routers.policy import Choice
from tests.support.cli import switchyard
from tests.support.gateway import make_context, served
from tests.support.minilm import SHIPPED, minilm
from tests.support.rays import nodes_apart
from tests.support.service import write_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER = "127.0.0.2"
SOON_S = 60.0
WORDS = "the quick brown fox jumps over a lazy dog " * 12


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    minilm()
    with nodes_apart(1) as cluster:
        yield cluster


def encoder(name: str, **residency: Any) -> dict[str, Any]:
    """The shipped one, under this name."""
    (shipped,) = (e for e in YAML(typ="safe").load(SHIPPED)["experts"] if e["name"] == "minilm")
    return {**shipped, "name": name, "limits": {"concurrency": 4}, "residency": {"memory_gb": 0.2, **residency}}


@dataclass
class Service:
    """The scheduler of a file over the cluster's nodes."""

    path: Path
    machines: Machines
    scheduler: LocalScheduler
    http: aiohttp.ClientSession
    numbers: Iterator[int]

    async def embed(self, name: str, *texts: str) -> tuple[str, list[list[float]]]:
        """The node that answered, and the vectors."""
        asked = LeaseRequest(f"r{next(self.numbers)}", (Choice(name, 1.0),), 0.01, math.inf)
        lease = await self.scheduler.acquire(asked)
        began = time.monotonic()
        try:
            assert lease.endpoint is not None
            headers = {"Authorization": f"Bearer {lease.endpoint.token}"}
            url = f"{lease.endpoint.base_url}/embeddings"
            async with self.http.post(url, json={"input": texts}, headers=headers) as response:
                assert response.status == 200
                return lease.node, [each["embedding"] for each in (await response.json())["data"]]
        finally:
            self.scheduler.release(lease, LeaseOutcome(ok=True, duration_s=time.monotonic() - began))

    @property
    def memory(self) -> MemoryStatus:
        return self.scheduler.memory()

    @property
    def nodes(self) -> set[str]:
        return set(self.memory.nodes)

    def in_memory(self, name: str) -> set[str]:
        return {each.node for each in self.scheduler.status() if each.expert == name and each.state == "ready"}


@asynccontextmanager
async def running(folder: Path, *experts: dict[str, Any]) -> AsyncIterator[Service]:
    path = write_config(folder, *experts, memory={"budget_gb": 0.5, "prefetch": False})
    machines = Machines(lambda node: OTHER if node.address == OTHER else "127.0.0.1", lambda _: None)
    scheduler = await machines.scheduler(read_config(path), folder)
    try:
        async with aiohttp.ClientSession() as http:
            yield Service(path, machines, scheduler, http, itertools.count())
    finally:
        await machines.unwatch()
        await scheduler.close()
        await machines.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not condition():  # noqa: ASYNC110 - what happens on other nodes gives no event
            await asyncio.sleep(0.02)


async def test_replicas_of_an_encoder_come_with_the_load_and_go_without(cluster: Cluster, tmp_path: Path):
    async with running(tmp_path, encoder("e", keep_alive_s=1.0, replicas={"min": 1})) as service:
        await service.scheduler.warm("e")
        (kept,) = service.in_memory("e")
        seen: set[str] = set()

        async def ask_on() -> None:
            while len(seen) < 2:
                node, _ = await service.embed("e", *[WORDS] * 8)
                seen.add(node)

        async with asyncio.timeout(SOON_S):
            await asyncio.gather(*(ask_on() for _ in range(48)))
        assert seen == service.nodes
        await until(lambda: [node for node, memory in service.memory.nodes.items() if memory.used_bytes] == [kept])
        assert service.in_memory("e") == {kept}


async def test_requests_that_share_a_batch_get_their_own_vectors(cluster: Cluster, tmp_path: Path):
    texts = [f"A sentence about the number {i}." for i in range(24)]
    async with running(tmp_path, encoder("e", replicas={"max": 1})) as service:
        answers = await asyncio.gather(*(service.embed("e", text) for text in texts))
        assert len({node for node, _ in answers}) == 1
        vectors = [vectors[0] for _, vectors in answers]
        np.testing.assert_allclose(vectors, minilm().encode(texts), atol=2e-2)


async def test_a_plan_for_the_nodes_that_there_are_is_made_applied_and_followed(cluster: Cluster, tmp_path: Path):
    async with running(tmp_path, encoder("left"), encoder("right")) as service:
        (head,) = service.nodes - {OTHER}
        await service.machines.reconfigure(read_config(placed(service.path, left=[head], right=[head])))
        for name in ("left", "right"):
            assert (await service.embed(name, "Hello"))[0] == head
        await fill_ledger(service.path, "left", "right")
        async with served(create_app(make_context(scheduler=service.scheduler))) as url:
            told = await switchyard("experts", "place", "--url", url, "--apply", "--json", cwd=tmp_path)
        assert told.code == 0, told.err
        (move,) = json.loads(told.out)["moves"]
        assert move["node"] == OTHER
        await service.machines.reconfigure(read_config(service.path))
        assert (await service.embed(move["expert"], "Hello"))[0] == OTHER
        await until(lambda: service.in_memory(move["expert"]) == {OTHER})
        assert service.in_memory("left") | service.in_memory("right") == service.nodes


def placed(path: Path, **placement: list[str]) -> Path:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"placement": placement}))
    return path


async def fill_ledger(path: Path, *experts: str) -> None:
    """Of the last ten seconds: each expert was busy for half of it."""
    ledger = make_ledger(read_config(path), path.parent)
    await ledger.open()
    for i in range(10):
        made = [Attempt(expert, "ok", 0.0, 2.0) for expert in experts]
        at = time.time() - i
        ledger.record(
            Decision(f"sw-{i}", at, "embedding", "auto", "auto", "text", "anonymous", status=200, attempts=made)
        )
    await ledger.close()
