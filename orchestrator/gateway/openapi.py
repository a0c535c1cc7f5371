"""GET /openapi.json: an OpenAPI 3.1 document made from the table of routes and the Structs that validate.

    document([RouteSpec("GET", "/healthz", healthz, "Whether the gateway is alive", public=True)])["paths"]

What it says of a field is what `validation.py` checks. What experts answer is theirs, so it is described no closer than as
an object.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from orchestrator.gateway.conversation import Body
from orchestrator.gateway.endpoint import RouteSpec
from orchestrator.gateway.http import Request

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
KEYED = {401: "No valid API key", 403: "The key may not do this", 503: "Shutting down, or no capacity"}
WITH_BODY = {400: "The request is wrong; `param` says where", 413: "The body is too large"}
NAMED = {404: "There is no such thing"}
INFERENCE = {
    404: "There is no such model",
    422: "The expert refused the request",
    429: "Come back after `Retry-After` seconds",
    502: "Every expert failed",
    504: "The deadline passed",
}
HEADERS = {
    "x-switchyard-decision-id": "For /v1/feedback and /v1/decisions/{id}",
    "x-switchyard-expert": "Who answered",
    "x-switchyard-policy": "Which policy chose",
    "x-switchyard-overhead-ms": "Switchyard's own time",
    "x-switchyard-wait-ms": "Time until the expert could take the request",
}
TAG_OPTIONAL = "MessageItem"
"""`responses_request.parse` adds the tag that tells it from other items, which msgspec's schema asks for."""
_PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")


def openapi_route(specs: Sequence[RouteSpec], *, keyed: bool = False) -> RouteSpec:
    """The route that serves the document of `specs` and of itself. keyed: the gateway has keys, so requests need one."""

    async def handler(request: Request) -> None:
        await request.respond(encoded)

    own = RouteSpec("GET", "/openapi.json", handler, "This document", public=True)
    encoded = msgspec.json.encode(document([*specs, own], keyed=keyed))
    return own


def document(specs: Sequence[RouteSpec], *, keyed: bool = False) -> dict[str, Any]:
    """The whole OpenAPI document."""
    types = [kind for spec in specs for kind in (*spec.body, spec.answer) if kind is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    for kind in types:
        if isinstance(kind, type) and issubclass(kind, Body):
            _allow_null(components[kind.__name__])
    if TAG_OPTIONAL in components:
        components[TAG_OPTIONAL]["required"].remove("type")
    known = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, Any] = {}
    for spec in specs:
        paths.setdefault(_PARAMETER.sub(r"{\1}", spec.path), {})[spec.method.lower()] = _operation(spec, known)
    key: list[dict[str, list[str]]] = [{"key": []}]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Switchyard", "version": version("switchyard-llm")},
        "security": key if keyed else [*key, {}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _allow_null(schema: dict[str, Any]) -> None:
    """In the fields that may be left out."""
    properties = schema["properties"]
    for name in properties.keys() - set(schema["required"]):
        properties[name] = {"anyOf": [properties[name], {"type": "null"}]}


def _operation(spec: RouteSpec, known: dict[int, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": spec.summary, "responses": _responses(spec, known)}
    if names := _PARAMETER.findall(spec.path):
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if spec.body:
        schema = {"anyOf": [known[id(kind)] for kind in spec.body]} if len(spec.body) > 1 else known[id(spec.body[0])]
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if spec.form is not None:
        operation["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": spec.form}}}
    if spec.public:
        operation["security"] = []
    return operation


def _responses(spec: RouteSpec, known: dict[int, Any]) -> dict[str, Any]:
    errors = (
        ({} if spec.public else KEYED)
        | (WITH_BODY if spec.body or spec.form else {})
        | (NAMED if "{" in spec.path else {})
        | (INFERENCE if spec.inference else {})
        | dict(spec.statuses)
    )
    failure = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"200": _success(spec, known)} | {
        str(status): {"description": text, "content": failure} for status, text in sorted(errors.items())
    }


def _success(spec: RouteSpec, known: dict[int, Any]) -> dict[str, Any]:
    answer = {} if spec.answer is None else known[id(spec.answer)]
    content: dict[str, Any] = {spec.media_type: {"schema": answer}}
    if spec.inference:
        content["text/event-stream"] = {}
    success: dict[str, Any] = {"description": "Done", "content": content}
    if spec.inference:
        success["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in HEADERS.items()
        }
    return success
