"""A trained router goes live on a running gateway, from the command line, while requests come."""

import asyncio

import httpx

from orchestrator.fleet.configfile import load_config
from tests.support.artifacts import trained
from tests.support.cli import switchyard
from tests.support.serving import switchyard_serve

SUM = "What is 5 + 11?"
TEXT = """\
version: 1
experts:
  - {name: a, backend: echo}
  - {name: b, backend: echo}
routers:
  default: {type: fixed}
policies:
  auto: {router: default}
"""


async def ask(client):
    body = {"model": "auto", "messages": [{"role": "user", "content": SUM}]}
    response = await client.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    return response


async def until_expert(client, name):
    async with asyncio.timeout(60):
        while (response := await ask(client)).headers["x-switchyard-expert"] != name:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return response.headers["x-switchyard-decision-id"]


async def under_load(url, steps):
    """Run `steps(client)` while four clients ask without a break; returns how many answers those got."""
    stop, answered = asyncio.Event(), 0

    async def ask_on(client):
        nonlocal answered
        while not stop.is_set():
            await ask(client)
            answered += 1

    async with httpx.AsyncClient(base_url=url) as client:
        asking = [asyncio.create_task(ask_on(client)) for _ in range(4)]
        await steps(client)
        stop.set()
        await asyncio.gather(*asking)
    return answered


async def test_promoted_rolled_back_and_refused_without_dropping_a_request(tmp_path):
    path = tmp_path / "experts.yaml"
    path.write_text(TEXT)
    artifact = trained(tmp_path / "support", good_at_sums="b", good_at_chat="a")

    async def promote(*arguments):
        result = await switchyard("promote", *arguments, cwd=tmp_path)
        assert result.code == 0, result.err
        return result.out

    async def steps(client):
        await until_expert(client, "a")
        assert "is the router of auto" in await promote(str(artifact))
        decision_id = await until_expert(client, "b")
        decision = (await client.get(f"/v1/decisions/{decision_id}")).json()
        live = load_config(path).policies["auto"].router
        assert decision["router"] == live
        assert decision["artifact"].startswith(live.removeprefix("support-"))
        assert "default is the router of auto" in await promote("--rollback")
        await until_expert(client, "a")

    with switchyard_serve(path) as gateway:
        assert await under_load(gateway.url, steps) > 20
        log = "".join(gateway.log)
        assert "ERROR" not in log, log


async def test_a_damaged_artifact_in_the_yaml_is_refused_and_the_old_router_stays(tmp_path):
    path = tmp_path / "experts.yaml"
    path.write_text(TEXT)
    weights = trained(tmp_path / "support", good_at_sums="b", good_at_chat="a") / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])

    async def steps(client):
        routers = "routers:\n  support: {artifact: support}"
        path.write_text(TEXT.replace("routers:", routers).replace("router: default", "router: support"))
        async with asyncio.timeout(60):
            while not any("damaged" in line for line in gateway.log):  # noqa: ASYNC110  a log gives no event
                await asyncio.sleep(0.05)
        await until_expert(client, "a")

    with switchyard_serve(path) as gateway:
        await under_load(gateway.url, steps)
        log = "".join(gateway.log)
    assert "routers.support: " in log
    assert "weights.safetensors: damaged" in log
    assert "the old fleet stays" in log


async def test_wrong_usage_says_what_was_expected(tmp_path):
    (tmp_path / "experts.yaml").write_text(TEXT)
    result = await switchyard("promote", "DIR", "--rollback", cwd=tmp_path)
    assert (result.code, result.err) == (1, "expected the DIR of an artifact, or --rollback alone\n")
