"""Every answer of every kind of expert fits the types of OpenAI's client: no missing field, no wrong type, no field too many."""

import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from openai.types import Completion, CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.shared import ErrorObject

from orchestrator.configfile import load_config
from orchestrator.errors import ConfigError
from orchestrator.gateway.app import create_app
from orchestrator.service import running
from orchestrator.weights import weights_path
from tests.support.gateway import served
from tests.support.live import CAPABILITIES, in_thread
from tests.support.service import write_config
from tests.support.shipped import SHIPPED
from tests.support.typed import assert_fits

EXPERTS = (
    {"name": "echo", "backend": "echo", "capabilities": CAPABILITIES},
    {"name": "calculator", "backend": "function", "callable": "orchestrator.experts.calculator:answer"},
    {"name": "persona", "backend": "persona", "base": "echo", "system": "Be brief."},
    {"name": "hashed", "backend": "echo", "kind": "embedding"},
)
LLAMACPP = "smollm2"
CHATTING = ["echo", "calculator", "persona", LLAMACPP, "panel/council"]
PANELS = {"council": {"experts": ["calculator", "echo"]}}

OF_LLAMACPP = {"timings", "__verbose"}
NOT_IN_THE_CLIENT = {"store"}
"""OpenAI's API returns it, its client's types leave it out."""
OF_OUR_MODELS = {"kind", "description", "capabilities", "context", "experts"}
SUM = "What is 6 * 7?"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("schema")
    with in_thread(serving(folder)) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[str]:
    path = write_config(folder, *EXPERTS, *real(LLAMACPP), panels=PANELS)
    async with running(path) as service, served(create_app(service.gateway_context())) as url:
        yield url


def real(*names: str) -> list[dict[str, Any]]:
    """Those of the shipped experts whose weights are here."""
    shipped = load_config(SHIPPED).by_name
    return [shipped[name].model_dump(mode="json", exclude_unset=True) for name in names if is_here(shipped[name].model)]


def is_here(weights: Any) -> bool:
    try:
        return weights_path(weights).exists()
    except ConfigError:
        return False


def post(client: httpx.Client, path: str, **body: Any) -> Any:
    response = client.post(f"/v1/{path}", json=body)
    if body["model"] == LLAMACPP and response.status_code == 404:
        pytest.skip("SmolLM2's weights are not here: run `switchyard pull smollm2`")
    assert response.status_code == 200, response.text
    return response.json() if "json" in response.headers["content-type"] else events(response.text)


def events(text: str) -> list[Any]:
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(piece) for piece in data if piece != "[DONE]"]


def chat(client: httpx.Client, model: str, **fields: Any) -> Any:
    body = {"messages": [{"role": "user", "content": SUM}], "max_tokens": 8, "temperature": 0} | fields
    return post(client, "chat/completions", model=model, **body)


@pytest.mark.parametrize("model", CHATTING)
def test_chat(client: httpx.Client, model: str):
    assert_fits(ChatCompletion, chat(client, model), besides=OF_LLAMACPP)


@pytest.mark.parametrize("model", CHATTING)
def test_chat_streams(client: httpx.Client, model: str):
    chunks = chat(client, model, stream=True, stream_options={"include_usage": True})
    for chunk in chunks:
        assert_fits(ChatCompletionChunk, chunk, besides=OF_LLAMACPP)
    assert chunks[-1]["usage"]["total_tokens"] > 0
