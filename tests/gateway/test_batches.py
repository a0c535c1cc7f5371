"""/v1/files and /v1/batches by OpenAI's own client, and by requests that it would never send."""

import asyncio
import json
import signal
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from orchestrator.gateway.app import create_app
from orchestrator.service import running
from tests.support.batches import URL, line, said
from tests.support.gateway import client_of, make_context, served
from tests.support.live import in_thread
from tests.support.service import openai_expert, write_config
from tests.support.serving import switchyard_serve
from tests.support.upstream import running_upstream

ECHO = {"name": "a", "backend": "echo"}
KEYS = "alice:sk-alice\nbob:sk-bob\n"
SLOW = {"name": "slow", "backend": "echo", "latency_s": 30}
REQUESTS = "".join(json.dumps(line(f"r{i}", text=f"q{i}")) + "\n" for i in range(3)).encode()


@asynccontextmanager
async def gateway(folder, *experts, keys=KEYS, **sections) -> AsyncIterator[AsyncOpenAI]:
    """A client of a gateway with the keys of `alice` and `bob`; hers."""
    (folder / "keys.txt").write_text(keys)
    path = write_config(folder, *experts, gateway={"keys_file": "keys.txt", "max_body_mb": 0.01}, **sections)
    async with (
        running(path) as service,
        served(create_app(service.gateway_context())) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-alice", max_retries=0) as client,
    ):
        yield client


@asynccontextmanager
async def plainly(folder, *experts, **sections) -> AsyncIterator[httpx.AsyncClient]:
    """The same without OpenAI's client, for what that would never send."""
    async with (
        gateway(folder, *experts, **sections) as client,
        httpx.AsyncClient(base_url=str(client.base_url), headers=client.auth_headers) as http,
    ):
        yield http


async def upload(client, data=REQUESTS, **fields):
    return await client.files.create(file=("in.jsonl", data), purpose="batch", **fields)


async def done(client, batch):
    while batch.status in {"validating", "in_progress", "finalizing", "cancelling"}:
        batch = await client.batches.retrieve(batch.id)
    return batch


async def test_a_batch_from_upload_to_answers(tmp_path):
    async with gateway(tmp_path, ECHO) as client:
        file = await upload(client)
        assert (file.object, file.purpose, file.bytes, file.filename) == ("file", "batch", len(REQUESTS), "in.jsonl")
        batch = await client.batches.create(
            input_file_id=file.id, endpoint=URL, completion_window="24h", metadata={"job": "night"}
        )
        assert (batch.object, batch.status, batch.metadata) == ("batch", "validating", {"job": "night"})
        assert batch.expires_at - batch.created_at == 86_400
        batch = await done(client, batch)
        assert (batch.status, batch.error_file_id) == ("completed", None)
        assert (batch.request_counts.total, batch.request_counts.completed) == (3, 3)
        assert batch.usage.total_tokens == batch.usage.input_tokens + batch.usage.output_tokens > 0
        text = (await client.files.content(batch.output_file_id)).text
        answers = {row["custom_id"]: row for row in map(json.loads, text.splitlines())}
        assert {name: said(row["response"]) for name, row in answers.items()} == {"r0": "q0", "r1": "q1", "r2": "q2"}
        assert (await client.files.retrieve(batch.output_file_id)).purpose == "batch_output"


async def test_lists_are_pages_newest_first(tmp_path):
    async with gateway(tmp_path, ECHO) as client:
        files = [(await upload(client)).id for _ in range(3)]
        assert [file.id async for file in client.files.list(limit=2)] == files[::-1]
        assert [file.id async for file in client.files.list(order="asc", after=files[0])] == files[1:]
        assert (await client.files.list(purpose="batch_output")).data == []
        page = await client.files.list(limit=2)
        assert page.has_more
        batches = [
            (await client.batches.create(input_file_id=file, endpoint=URL, completion_window="24h")).id
            for file in files
        ]
        assert [batch.id async for batch in client.batches.list(limit=1)] == batches[::-1]


async def test_files_are_deleted_unless_a_batch_needs_them(tmp_path):
    async with gateway(tmp_path, SLOW) as client:
        file = await upload(client, json.dumps(line("r", "slow")).encode())
        batch = await client.batches.create(input_file_id=file.id, endpoint=URL, completion_window="24h")
        with pytest.raises(openai.BadRequestError, match="needs the file"):
            await client.files.delete(file.id)
        assert (await client.batches.cancel(batch.id)).status == "cancelling"
        batch = await done(client, batch)
        assert batch.status == "cancelled"
        assert "batch_cancelled" in (await client.files.content(batch.error_file_id)).text
        assert (await client.files.delete(file.id)).deleted
        with pytest.raises(openai.NotFoundError):
            await client.files.retrieve(file.id)


async def test_other_keys_know_nothing_of_them(tmp_path):
    async with gateway(tmp_path, ECHO) as alice:
        file = await upload(alice)
        batch = await alice.batches.create(input_file_id=file.id, endpoint=URL, completion_window="24h")
        bob = alice.with_options(api_key="sk-bob")
        for look in (bob.files.retrieve, bob.files.content, bob.files.delete):
            with pytest.raises(openai.NotFoundError):
                await look(file.id)
        for look in (bob.batches.retrieve, bob.batches.cancel):
            with pytest.raises(openai.NotFoundError):
                await look(batch.id)
        with pytest.raises(openai.NotFoundError):
            await bob.batches.create(input_file_id=file.id, endpoint=URL, completion_window="24h")
        assert [(await bob.files.list()).data, (await bob.batches.list()).data] == [[], []]
        with pytest.raises(openai.AuthenticationError):
            await alice.with_options(api_key="sk-nobody").files.list()


async def test_a_batch_ends_with_its_key_and_operators_see_that(tmp_path):
    async with gateway(tmp_path, SLOW) as alice:
        file = await upload(alice, json.dumps(line("r", "slow")).encode())
        batch = await alice.batches.create(input_file_id=file.id, endpoint=URL, completion_window="24h")
    async with gateway(tmp_path, SLOW, keys="root:sk-root admin\n") as client:
        root = client.with_options(api_key="sk-root")
        assert [each.id async for each in root.batches.list()] == [batch.id]
        batch = await done(root, batch)
    assert (batch.status, batch.errors.data[0].code) == ("cancelled", "key_unknown")


async def test_a_file_that_cannot_be_used_fails_the_batch_line_by_line(tmp_path):
    async with gateway(tmp_path, ECHO) as client:
        file = await upload(client, b"{}\n" + REQUESTS + b"no json\n")
        batch = await client.batches.create(input_file_id=file.id, endpoint=URL, completion_window="24h")
        batch = await done(client, batch)
        assert batch.status == "failed"
        assert [(error.line, error.code) for error in batch.errors.data] == [
            (1, "missing_required_parameter"),
            (5, "invalid_json_line"),
        ]


async def test_files_may_be_larger_than_bodies_and_have_a_limit(tmp_path):
    async with gateway(tmp_path, ECHO, batches={"max_file_mb": 0.1}) as client:
        assert (await upload(client, b"x" * 50_000)).bytes == 50_000
        with pytest.raises(openai.APIStatusError) as refused:
            await upload(client, b"x" * 300_000)
        assert refused.value.status_code == 413


async def test_a_file_for_which_there_is_no_room_is_refused_before_it_comes(tmp_path):
    async with plainly(tmp_path, ECHO, batches={"max_stored_gb": 1e-6}) as http:
        form = "content-type: multipart/form-data; boundary=x\r\ncontent-length: 2000"
        head = f"POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-alice\r\n{form}\r\n\r\n"
        reader, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
        writer.write(head.encode())
        async with asyncio.timeout(20):
            assert b" 413 " in await reader.readline()
        writer.close()
        await writer.wait_closed()


def expiring(seconds):
    fields = {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": seconds}
    return {"data": fields, "files": {"file": b"x"}}


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"data": {"purpose": "fine-tune"}, "files": {"file": b"x"}}, "purpose"),
        ({"data": {"purpose": "batch", "file": "x"}, "files": {"other": b"x"}}, "file"),
        ({"data": {"purpose": "batch"}}, "file"),
        ({"content": b"--x\r\n", "headers": {"content-type": "multipart/form-data; boundary=y"}}, "file"),
        ({"content": b"", "headers": {"content-type": "multipart/form-data"}}, "file"),
        ({"data": {"purpose": "batch", "expires_after[seconds]": "1"}, "files": {"file": b"x"}}, "anchor"),
        (expiring("²"), "seconds"),
        (expiring("9" * 5000), "seconds"),
    ],
)
async def test_forms_that_are_wrong_name_the_field(tmp_path, form, param):
    async with plainly(tmp_path, ECHO) as http:
        answer = await http.post("files", **form)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"endpoint": URL, "completion_window": "24h"}, "input_file_id"),
        ({"input_file_id": "f", "endpoint": "/v1/images", "completion_window": "24h"}, "endpoint"),
        ({"input_file_id": "f", "endpoint": URL, "completion_window": "1h"}, "completion_window"),
        ({"input_file_id": "f", "endpoint": URL, "completion_window": "24h", "metadata": {"a": 1}}, "metadata[...]"),
    ],
)
async def test_batches_that_are_wrong_name_the_field(tmp_path, body, param):
    async with plainly(tmp_path, ECHO) as http:
        answer = await http.post("batches", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=10001", f"limit={1:09}{'0' * 4400}", "limit=%C2%B2", "order=up"]
)
async def test_pages_that_are_wrong_name_the_parameter(tmp_path, query):
    async with plainly(tmp_path, ECHO) as http:
        answer = await http.get(f"files?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, query.partition("=")[0])


async def test_a_gateway_without_batches_says_so():
    async with client_of(make_context()) as client:
        assert (await client.get("/v1/batches")).status_code == 404


def test_a_gateway_that_was_killed_goes_on_and_asks_nobody_twice(tmp_path):
    with in_thread(running_upstream(script=deque(["ok", "ok", "hang"]))) as upstream:
        config = write_config(tmp_path, openai_expert("a", upstream.base_url, limits={"concurrency": 1}))
        with switchyard_serve(config) as killed, openai.OpenAI(base_url=f"{killed.url}/v1", api_key="x") as client:
            data = b"".join(json.dumps(line(f"r{i}", text=f"q{i}")).encode() + b"\n" for i in range(6))
            file = client.files.create(file=("in.jsonl", data), purpose="batch")
            batch = client.batches.create(input_file_id=file.id, endpoint=URL, completion_window="24h")
            while client.batches.retrieve(batch.id).request_counts.completed < 2 or len(upstream.requests) < 3:
                pass
            killed.process.send_signal(signal.SIGKILL)
            killed.process.wait()
        with switchyard_serve(config) as again, openai.OpenAI(base_url=f"{again.url}/v1", api_key="x") as client:
            while (batch := client.batches.retrieve(batch.id)).status != "completed":
                pass
            answers = client.files.content(batch.output_file_id).text.splitlines()
    assert len(answers) == batch.request_counts.completed == 6
    asked = [exchange.body["messages"][0]["content"] for exchange in upstream.requests]
    assert sorted(asked) == sorted([*(f"q{i}" for i in range(6)), asked[2]]), "but for the one that was never answered"
