"""The OpenAPI document says what the gateway does: checked by schemathesis and against the table of routes."""

from __future__ import annotations

import re

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from orchestrator.gateway.app import ROUTES, create_app
from tests.support.gateway import HELLO, client_of, make_context
from tests.support.pipeline import FakePipeline

CHUNK = b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"small","choices":[]}\n\n'
pipeline = FakePipeline(events=[CHUNK, b"data: [DONE]\n\n"])
schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(make_context(pipeline)))


# The translated APIs rightly refuse some valid requests: for what only their makers' own servers can do.
@schema.parametrize()
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_schemathesis_finds_nothing(case):
    translated = case.path in ("/v1/responses", "/v1/messages", "/v1/messages/count_tokens")
    case.call_and_validate(excluded_checks=[positive_data_acceptance] if translated else [])


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
