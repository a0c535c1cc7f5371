"""The OpenAPI document covers the table of routes; that it tells the truth is seen to in tests/conformance/test_schemathesis.py."""

from __future__ import annotations

import re

import jsonschema
import pytest

from orchestrator.gateway.app import ROUTES
from orchestrator.gateway.auth import KeyRing
from orchestrator.types import ANONYMOUS
from tests.support.gateway import HELLO, client_of, make_context


async def test_every_route_is_documented():
    async with client_of(make_context()) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    documented = {(method.upper(), path) for path, operations in paths.items() for method in operations}
    served = {(spec.method, re.sub(r":path}", "}", spec.path)) for spec in ROUTES}
    assert documented == served | {("GET", "/openapi.json")}


async def test_the_document_is_self_contained():
    async with client_of(make_context()) as client:
        document = (await client.get("/openapi.json")).json()
    references = set(re.findall(r"#/components/schemas/([\w.]+)", str(document)))
    assert references <= document["components"]["schemas"].keys()


@pytest.mark.parametrize(("keys", "security"), [({}, [{"key": []}, {}]), ({b"digest": ANONYMOUS}, [{"key": []}])])
async def test_a_key_is_asked_for_where_there_are_keys(keys, security):
    async with client_of(make_context(keys=KeyRing(keys))) as client:
        document = (await client.get("/openapi.json")).json()
    assert document["security"] == security
    assert document["paths"]["/healthz"]["get"]["security"] == []
    assert "security" not in document["paths"]["/v1/models"]["get"]


@pytest.mark.parametrize("wrong", [{"messages": []}, {"switchyard": {"lamda": 1}}, {"max_tokens": 0}])
async def test_the_chat_schema_refuses_what_the_gateway_refuses(wrong):
    async with client_of(make_context()) as client:
        document = (await client.get("/openapi.json")).json()
        status = (await client.post("/v1/chat/completions", json=HELLO | wrong)).status_code
    chat = {"$ref": "#/components/schemas/ChatRequest", "components": document["components"]}
    jsonschema.validate(HELLO, chat)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(HELLO | wrong, chat)
    assert status == 400
