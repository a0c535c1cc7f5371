"""A gateway is killed or stopped amid a batch, and another on its PostgreSQL goes on: as processes, with short leases."""

import asyncio
import io
import json
import signal
import sys
from collections import Counter, deque
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.bulk.objects import BatchRequest, Owned, new_batch
from orchestrator.bulk.store import Store
from orchestrator.bulk.uploads import Uploads
from orchestrator.config import BatchesSpec
from orchestrator.ledger import schema
from orchestrator.ledger.database import connect
from tests.support.batches import ALICE, URL, line
from tests.support.postgres import database_url
from tests.support.upstream import ok, running_upstream

GATEWAY = """
import asyncio, sys
from pathlib import Path
from orchestrator.bulk.batches import Batches
from orchestrator.bulk.store import Store
from tests.support.service import openai_expert, service_of

async def run(folder, name, url, upstream):
    (folder / name).mkdir()
    expert = openai_expert("a", upstream, limits={"concurrency": 1})
    async with service_of(folder / name, expert, ledger={"url": url}) as service:
        batches = Batches(service.bulk, Store(url, folder / "batches", lease_s=2.0), lambda: service.fleet.config.batches)
        await batches.open()
        print("open", flush=True)
        await asyncio.Event().wait()

asyncio.run(run(Path(sys.argv[1]), *sys.argv[2:]))
"""


@asynccontextmanager
async def gateway(*arguments):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        GATEWAY,
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert await process.stdout.readline() == b"open\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def store_of(url, folder):
    """Of a gateway that runs nothing."""
    store = Store(url, folder)
    store.open()
    yield store
    store.close()


async def made(store, count):
    data = "".join(json.dumps(line(f"r{i}", text=f"q{i}")) + "\n" for i in range(count)).encode()
    file = await Uploads(store, BatchesSpec).add(ALICE, "in.jsonl", io.BytesIO(data), len(data))
    batch = new_batch(BatchRequest(file.id, URL, "24h"), now=file.created_at)
    store.add_batch(Owned(batch, ALICE))
    return batch


def owner(url):
    engine = connect(url)
    with engine.connect() as connection:
        found = connection.execute(sa.select(schema.claims.c.owner)).scalar_one()
    engine.dispose()
    return found


async def until(is_so):
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def answers(store, batch):
    return [json.loads(row)["custom_id"] for row in store.path(batch.output_file_id).read_text().splitlines()]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_another_goes_on_and_the_first_writes_no_more(how, tmp_path):
    """What the stopped one is told while it is stopped comes too late: it was no longer its batch."""
    url, answered = database_url("postgres", tmp_path), asyncio.Event()

    async def late(exchange):
        await answered.wait()
        return await ok(exchange)

    async with (
        running_upstream(script=deque(["ok"] * 3 + [late])) as upstream,
        store_of(url, tmp_path / "batches") as store,
        gateway(tmp_path, "first", url, upstream.base_url) as first,
        gateway(tmp_path, "second", url, upstream.base_url),
    ):
        batch = await made(store, 6)
        await until(lambda: len(upstream.requests) == 4)
        held_by = owner(url)
        first.send_signal(how)
        await until(lambda: owner(url) != held_by)
        answered.set()
        await asyncio.sleep(0.1)  # it is on its way
        if how == signal.SIGSTOP:
            first.send_signal(signal.SIGCONT)
        await until(lambda: store.batch(batch.id, None).batch.status == "completed")
        batch = store.batch(batch.id, None).batch
        assert batch.request_counts.completed == 6
        assert answers(store, batch) == [f"r{i}" for i in range(6)]
        assert first.returncode == (-signal.SIGKILL if how == signal.SIGKILL else None)
    asked = Counter(exchange.body["messages"][0]["content"] for exchange in upstream.requests)
    assert [asked[f"q{i}"] for i in range(4)] == [1, 1, 1, 2], "only what was under way is asked again"
