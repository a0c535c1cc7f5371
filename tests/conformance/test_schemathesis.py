"""schemathesis against running gateways of echo experts, without keys and with: what the OpenAPI document says is what happens."""

import re
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case, Response
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from orchestrator.gateway.app import ROUTES, create_app
from orchestrator.gateway.openapi import document, openapi_route
from orchestrator.service import running
from tests.support.gateway import HELLO, served
from tests.support.live import CAPABILITIES, KEY, in_thread
from tests.support.service import write_config

EXPERTS = (
    {"name": "large", "backend": "echo", "capabilities": CAPABILITIES},
    {"name": "small", "backend": "echo", "context": 2048},
    {
        "name": "pointer",
        "backend": "function",
        "callable": "tests.support.callables:point",
        "capabilities": CAPABILITIES,
    },
    {"name": "writer", "backend": "echo", "kind": "completion", "capabilities": CAPABILITIES},
    {"name": "hashed", "backend": "echo", "kind": "embedding"},
    {"name": "ranker", "backend": "echo", "kind": "rerank"},
)
NAMES = [expert["name"] for expert in EXPERTS]
SECTIONS = {"policies": {"cheap": {"lambda": 5}}, "panels": {"council": {"experts": ["pointer"]}}}
MODELS = (*["auto"] * 5, "cheap", "panel/council", *NAMES)
NO_SCHEMA_CAN_SAY = frozenset(
    {
        "no_feasible_expert",
        "context_length_exceeded",
        "collection_unavailable",
        "unsupported_parameter",
        "unsupported_tool",
        "invalid_value",
    }
)
"""Why a well-formed request is refused: it does not fit the fleet, or asks for what only another maker's servers can do."""
SAID_BY_ANTHROPIC = re.compile(
    r"no expert can (serve|hold)|runs on Anthropic|has no input_schema|is not supported|needs a name"
)
"""The same in a dialect whose errors have no codes."""
TIMES = settings(max_examples=6, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
MANY_TIMES = settings(TIMES, max_examples=400, derandomize=False)

SPECS = [*ROUTES, openapi_route(ROUTES)]
open_schema = schemathesis.openapi.from_dict(document(SPECS))
keyed_schema = schemathesis.openapi.from_dict(document(SPECS, keyed=True))


@dataclass(frozen=True)
class Target:
    """A running gateway, and the id of a decision it has made."""

    url: str
    decision: str
    headers: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def open_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with in_thread(serving(tmp_path_factory.mktemp("open"))) as url:
        yield target(url, {})


@pytest.fixture(scope="module")
def keyed_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("keyed")
    (folder / "keys.txt").write_text(f"{KEY} admin\n")
    with in_thread(serving(folder, gateway={"keys_file": "keys.txt"})) as url:
        yield target(url, {"Authorization": f"Bearer {KEY}"})


@asynccontextmanager
async def serving(folder: Path, **sections) -> AsyncIterator[str]:
    path = write_config(folder, *EXPERTS, **SECTIONS, **sections)
    async with running(path) as service, served(create_app(service.gateway_context())) as url:
        yield url


def target(url: str, headers: dict[str, str]) -> Target:
    answer = httpx.post(f"{url}/v1/chat/completions", json=HELLO, headers=headers)
    return Target(url, answer.headers["x-switchyard-decision-id"], headers)


def check(case: Case, target: Target) -> None:
    aim(case, target)
    response = case.call(base_url=target.url, headers=target.headers)
    excluded = [positive_data_acceptance] if response.status_code == 400 and no_schema_can_say(response) else []
    if case.path == "/v1/files":  # a file is bytes, which this tool takes for a fault where the schema says `string`
        excluded.append(negative_data_rejection)
    transport = {"base_url": target.url, "headers": target.headers}
    case.validate_response(response, headers=target.headers, excluded_checks=excluded, transport_kwargs=transport)


def no_schema_can_say(response: Response) -> bool:
    error = response.json()["error"]
    if "code" in error:
        return error["code"] in NO_SCHEMA_CAN_SAY
    return SAID_BY_ANTHROPIC.search(error["message"]) is not None


def aim(case: Case, target: Target) -> None:
    """Names that were made up become those of things that exist; most requests would end at a 404 otherwise."""
    if "decision" in case.path_parameters:
        case.path_parameters["decision"] = target.decision
    if not isinstance(case.body, dict):
        return
    body = dict(case.body)
    if is_name(body.get("model")):
        body["model"] = MODELS[zlib.crc32(repr(body).encode()) % len(MODELS)]
    if is_name(body.get("decision_id")):
        body |= {"decision_id": target.decision} | ({"expert": "large"} if is_name(body.get("expert")) else {})
    options = body.get("switchyard")
    if isinstance(options, dict) and isinstance(experts := options.get("experts"), list) and all(map(is_name, experts)):
        body["switchyard"] = options | {"experts": [*experts, *NAMES]}
    case.body = body


def is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


@open_schema.parametrize()
@TIMES
def test_it_finds_nothing_without_keys(case: Case, open_gateway: Target):
    check(case, open_gateway)


@keyed_schema.parametrize()
@TIMES
def test_it_finds_nothing_with_keys(case: Case, keyed_gateway: Target):
    check(case, keyed_gateway)


@pytest.mark.slow
@keyed_schema.parametrize()
@MANY_TIMES
def test_it_finds_nothing_in_many_requests(case: Case, keyed_gateway: Target):
    check(case, keyed_gateway)
