"""Several gateways on one ledger: each takes batches, tells of them and cancels them, and one of them runs them."""

import asyncio
from collections import deque
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from orchestrator.bulk.batches import Batches
from orchestrator.bulk.objects import BatchRequest
from orchestrator.bulk.store import Page, Store
from orchestrator.errors import LedgerUnavailable, RateLimited, RequestError
from orchestrator.ledger import schema
from orchestrator.ledger.database import connect
from tests.support.batches import ALICE, URL, line, rows, upload, when
from tests.support.postgres import KINDS, PostgresServer, database_url
from tests.support.service import openai_expert, service_of
from tests.support.upstream import running_upstream

SLOW = {"name": "a", "backend": "echo", "latency_s": 30}
ECHO = {"name": "a", "backend": "echo"}


@pytest.fixture(params=KINDS)
def url(request, tmp_path):
    return database_url(request.param, tmp_path)


@asynccontextmanager
async def gateways(folder, url, *experts, count=2, **sections):
    """Their batches; the first runs them. They look about often."""
    async with AsyncExitStack() as stack:
        opened = []
        for i in range(count):
            (folder / str(i)).mkdir()
            service = await stack.enter_async_context(
                service_of(folder / str(i), *experts, ledger={"url": url}, **sections)
            )
            store = Store(url, folder / "batches", lease_s=2.0)
            batches = Batches(service.bulk, store, lambda service=service: service.fleet.config.batches)
            stack.push_async_callback(batches.close)
            await batches.open()
            opened.append(batches)
        yield opened


async def test_a_batch_is_run_by_one_and_followed_at_the_other(tmp_path, url):
    async with running_upstream(script=deque(["ok"] * 3 + ["hang"])) as upstream:
        expert = openai_expert("a", upstream.base_url, limits={"concurrency": 1})
        async with gateways(tmp_path, url, expert) as (runner, other):
            file = await upload(other, [line(f"r{i}") for i in range(4)])
            batch = await other.create(ALICE, BatchRequest(file.id, URL, "24h"))
            async with asyncio.timeout(10):
                while (await other.batch(ALICE, batch.id)).request_counts.completed < 3:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert (runner.in_progress, other.in_progress) == (1, 0)
            with pytest.raises(RequestError, match="needs the file"):
                await other.uploads.delete(ALICE, file.id)
            assert (await other.cancel(ALICE, batch.id)).status == "cancelling"
            batch = await when(other, batch, "cancelled")
            assert len(await rows(other, batch.output_file_id)) == 3
            with pytest.raises(RequestError, match="that is cancelled can't be cancelled"):
                await other.cancel(ALICE, batch.id)
    assert len(upstream.requests) == 4, "nobody was asked twice"


async def test_when_one_ends_another_goes_on_and_asks_nobody_twice(tmp_path, url):
    async with running_upstream(script=deque(["ok"] * 3 + ["hang"])) as upstream:
        expert = openai_expert("a", upstream.base_url, limits={"concurrency": 1})
        async with gateways(tmp_path, url, expert) as (runner, other):
            file = await upload(runner, [line(f"r{i}") for i in range(6)])
            batch = await runner.create(ALICE, BatchRequest(file.id, URL, "24h"))
            while len(upstream.requests) < 4:
                upstream.arrived.clear()
                await upstream.arrived.wait()
            await runner.close()
            batch = await when(other, batch, "completed")
            assert len(await rows(other, batch.output_file_id)) == 6
    assert len(upstream.requests) == 7, "only the one that was never answered was asked twice"


async def test_one_that_could_not_renew_its_claim_stops_before_another_begins(tmp_path):
    url = database_url("postgres", tmp_path)
    async with gateways(tmp_path, url, SLOW) as (runner, other):
        file = await upload(runner, [line("a")])
        batch = await runner.create(ALICE, BatchRequest(file.id, URL, "24h"))
        await when(runner, batch, "in_progress")
        thief = Store(url, tmp_path / "batches", lease_s=1.0)
        thief.open()
        await steal(url, thief)
        async with asyncio.timeout(10):
            while runner.in_progress:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert not runner.runs
        thief.close()
        async with asyncio.timeout(10):
            while not runner.in_progress + other.in_progress:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await other.batches(ALICE, Page(10)))[0].status == "in_progress"


async def test_while_the_database_stands_still_nobody_runs_batches_and_then_one_goes_on(tmp_path):
    with PostgresServer.running() as server:
        async with running_upstream(script=deque(["ok"] * 3 + ["hang"])) as upstream:
            expert = openai_expert("a", upstream.base_url, limits={"concurrency": 1})
            async with gateways(tmp_path, f"{server.new_database()}?connect_timeout=2", expert) as both:
                file = await upload(both[0], [line(f"r{i}") for i in range(6)])
                batch = await both[0].create(ALICE, BatchRequest(file.id, URL, "24h"))
                while len(upstream.requests) < 4:
                    upstream.arrived.clear()
                    await upstream.arrived.wait()
                server.freeze()
                async with asyncio.timeout(10):
                    while any(each.runs or each.in_progress for each in both):  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                with pytest.raises(LedgerUnavailable):
                    await both[1].batch(ALICE, batch.id)
                server.thaw()
                batch = await when(both[1], batch, "completed")
                assert len(await rows(both[1], batch.output_file_id)) == 6
    assert len(upstream.requests) == 7, "only the one that was never answered was asked twice"


async def steal(url, thief):
    """Let the claim run out as it would amid a network cut, so that another gateway takes it."""
    engine = connect(url)
    with engine.begin() as connection:
        connection.execute(schema.claims.update().values(owner="", expires_at=0.0))
    assert thief.claim()
    engine.dispose()


async def test_limits_count_batches_of_all_gateways(tmp_path, url):
    async with gateways(tmp_path, url, SLOW, batches={"max_unfinished": 1}) as (runner, other):
        file = await upload(other, [line("a")])
        await other.create(ALICE, BatchRequest(file.id, URL, "24h"))
        with pytest.raises(RateLimited, match="not over yet"):
            await runner.create(ALICE, BatchRequest(file.id, URL, "24h"))
