"""/v1/models lists what a key may put into `model`."""

from __future__ import annotations

import hashlib

import openai

from orchestrator.gateway.auth import KeyRing
from orchestrator.types import Caller
from tests.support.gateway import client_of, make_context, served_client


def keys_for(caller: Caller) -> KeyRing:
    return KeyRing({hashlib.sha256(b"sk-1").digest(): caller})


async def test_experts_policies_and_panels():
    async with client_of(make_context()) as client:
        models = (await client.get("/v1/models")).json()
    assert models["object"] == "list"
    kinds = {model["id"]: model["kind"] for model in models["data"]}
    assert kinds == {
        "small": "chat",
        "large": "chat",
        "embedder": "embedding",
        "auto": "policy",
        "cheap": "policy",
        "panel/council": "panel",
    }


async def test_one_model_with_what_it_can():
    async with client_of(make_context()) as client:
        model = (await client.get("/v1/models/small")).json()
    assert model["owned_by"] == "echo"
    assert model["context"] == 2048
    assert model["capabilities"] == ["streaming"]
    assert model["description"] == "short"


async def test_a_panels_name_has_a_slash():
    async with client_of(make_context()) as client:
        assert (await client.get("/v1/models/panel/council")).json()["experts"] == ["small", "large"]
        assert (await client.get("/v1/models/panel%2Fcouncil")).status_code == 200


async def test_an_unknown_model():
    async with client_of(make_context()) as client:
        response = await client.get("/v1/models/gpt-9")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"


async def test_a_key_sees_what_it_may_use():
    keys = keys_for(Caller("k", experts=frozenset({"small"}), policies=frozenset({"auto"})))
    async with client_of(make_context(keys=keys)) as client:
        client.headers["x-api-key"] = "sk-1"
        models = (await client.get("/v1/models")).json()["data"]
        hidden = await client.get("/v1/models/large")
    assert [model["id"] for model in models] == ["small", "auto"]
    assert hidden.status_code == 404


async def test_what_a_key_has_too_few_experts_for_is_not_listed():
    keys = keys_for(Caller("k", experts=frozenset({"large"})))
    async with client_of(make_context(keys=keys)) as client:
        client.headers["x-api-key"] = "sk-1"
        models = {model["id"]: model.get("experts") for model in (await client.get("/v1/models")).json()["data"]}
    assert models == {"large": None, "auto": None, "panel/council": ["large"]}


async def test_openais_client_lists_them():
    async with (
        served_client(make_context()) as http,
        openai.AsyncOpenAI(api_key="none", base_url=f"{http.base_url}/v1") as client,
    ):
        models = [model.id async for model in client.models.list()]
        assert (await client.models.retrieve("panel/council")).id == "panel/council"
    assert "auto" in models
