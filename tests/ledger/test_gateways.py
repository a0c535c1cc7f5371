"""Gateways that share a PostgreSQL, as their clients see them."""

import json
from contextlib import AsyncExitStack, asynccontextmanager

import httpx

from orchestrator.gateway.app import create_app
from tests.support.cli import switchyard
from tests.support.gateway import HELLO, served
from tests.support.postgres import PostgresServer, database_url
from tests.support.service import service_of

ECHO = {"name": "a", "backend": "echo"}


@asynccontextmanager
async def gateways(folder, url, count=2):
    """Clients of so many."""
    async with AsyncExitStack() as stack:
        clients = []
        for i in range(count):
            (folder / str(i)).mkdir()
            service = await stack.enter_async_context(service_of(folder / str(i), ECHO, ledger={"url": url}))
            address = await stack.enter_async_context(served(create_app(service.gateway_context())))
            clients.append(await stack.enter_async_context(httpx.AsyncClient(base_url=address, timeout=30)))
        yield clients


async def asked(client):
    """The id of the decision behind an answer."""
    answer = await client.post("/v1/chat/completions", json=HELLO)
    assert answer.status_code == 200
    return answer.headers["x-switchyard-decision-id"]


async def scored(client, decision_id):
    return (await client.post("/v1/feedback", json={"decision_id": decision_id, "score": 1})).status_code


async def test_what_one_gateway_answered_is_scored_at_another_and_exported(tmp_path):
    async with gateways(tmp_path, database_url("postgres", tmp_path)) as (first, second):
        decision_id = await asked(first)
        assert await scored(second, decision_id) == 200
        assert (await second.get(f"/v1/decisions/{decision_id}")).json()["expert"] == "a"
        result = await switchyard("export", "--out", "o.jsonl", "--config", "0/experts.yaml", cwd=tmp_path)
        assert result.out == "wrote 1 outcomes to o.jsonl\n", result.err
        assert json.loads((tmp_path / "o.jsonl").read_text())["rewards"] == {"a": 1.0}


async def test_without_its_database_a_gateway_answers_and_takes_no_feedback(tmp_path):
    with PostgresServer.running() as server:
        async with gateways(tmp_path, server.new_database(), count=1) as (client,):
            before = await asked(client)
            assert await scored(client, before) == 200
            server.stop()
            meanwhile = await asked(client)
            assert [await scored(client, each) for each in (before, meanwhile)] == [503, 503]
            assert (await client.get("/v1/batches")).status_code == 503
            server.start()
            assert [await scored(client, each) for each in (before, meanwhile)] == [200, 200]
            assert (await client.get("/v1/batches")).status_code == 200


async def test_gateways_that_share_a_ledger_and_no_folder_take_no_batches_but_answer(tmp_path):
    async with gateways(tmp_path, database_url("postgres", tmp_path)) as (first, second):
        assert (await first.get("/v1/batches")).status_code == 200
        refused = await second.get("/v1/batches")
        assert refused.status_code == 503
        assert "`batches.folder` must be one folder" in refused.json()["error"]["message"]
        await asked(second)
