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

from orchestrator.errors import ConfigError
from orchestrator.fleet.configfile import load_config
from orchestrator.fleet.weights import weights_path
from orchestrator.gateway.app import create_app
from orchestrator.service import running
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
REAL = (LLAMACPP, "minilm")
CHATTING = ["echo", "calculator", "persona", LLAMACPP, "panel/council"]
COMPLETING = ["echo", LLAMACPP, "panel/council"]
PANELS = {"council": {"experts": ["calculator", "echo"]}}

OF_LLAMACPP = {"timings"}
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
    path = write_config(folder, *EXPERTS, *real(*REAL), panels=PANELS)
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
    if body["model"] in REAL and response.status_code == 404:
        pytest.skip(f"the weights of {body['model']} are not here: run `switchyard pull`")
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


def test_chat_with_choices_and_logprobs(client: httpx.Client):
    body = chat(client, LLAMACPP, n=2, logprobs=True, top_logprobs=2)
    assert_fits(ChatCompletion, body, besides=OF_LLAMACPP | {"id"})  # it numbers the tokens as well
    assert len(body["choices"]) == 2
    assert body["choices"][0]["logprobs"]["content"]


def test_explain_adds_one_object(client: httpx.Client):
    body = chat(client, "auto", switchyard={"explain": True})
    assert_fits(ChatCompletion, body, besides={"switchyard"})
    assert body["switchyard"]["expert"] == body["model"]


@pytest.mark.parametrize("model", CHATTING)
def test_fields_that_nobody_knows_are_no_error(client: httpx.Client, model: str):
    chat(client, model, made_up={"by": ["a", "client", None]}, prompt_cache_key="k", verbosity="low")


@pytest.mark.parametrize("model", COMPLETING)
def test_completion(client: httpx.Client, model: str):
    body = post(client, "completions", model=model, prompt=SUM, max_tokens=8)
    assert_fits(Completion, body, besides=OF_LLAMACPP)


@pytest.mark.parametrize("model", COMPLETING)
def test_completion_streams(client: httpx.Client, model: str):
    """Until the last chunk there is no reason to finish, which OpenAI's API says by null and its client's type forgot."""
    *chunks, last = post(client, "completions", model=model, prompt=SUM, max_tokens=8, stream=True)
    for chunk in chunks:
        (choice,) = chunk["choices"]
        assert choice["finish_reason"] is None
        assert_fits(Completion, {**chunk, "choices": [choice | {"finish_reason": "stop"}]}, besides=OF_LLAMACPP)
    assert_fits(Completion, last, besides=OF_LLAMACPP)


@pytest.mark.parametrize("model", ["hashed", "minilm"])
def test_embeddings_as_numbers_and_as_base64(client: httpx.Client, model: str):
    numbers, encoded = (
        post(client, "embeddings", model=model, input=["one", "two"], encoding_format=format)
        for format in ("float", "base64")
    )
    assert_fits(CreateEmbeddingResponse, numbers)
    for number, code in zip(numbers["data"], encoded["data"], strict=True):
        vector = np.frombuffer(base64.b64decode(code.pop("embedding")), dtype="<f4")
        np.testing.assert_allclose(vector, number.pop("embedding"), rtol=1e-6)
        assert code == number


@pytest.mark.parametrize("model", CHATTING)
def test_response(client: httpx.Client, model: str):
    body = post(client, "responses", model=model, input=SUM, max_output_tokens=8)
    assert_fits(Response, body, besides=NOT_IN_THE_CLIENT)
    assert body["output"][0]["content"][0]["text"]


@pytest.mark.parametrize("model", CHATTING)
def test_response_streams(client: httpx.Client, model: str):
    happened = post(client, "responses", model=model, input=SUM, max_output_tokens=8, stream=True)
    for event in happened:
        assert_fits(ResponseStreamEvent, event, besides=NOT_IN_THE_CLIENT)
    assert [event["sequence_number"] for event in happened] == list(range(len(happened)))
    assert happened[-1]["type"] in ("response.completed", "response.incomplete")


def test_models(client: httpx.Client):
    listed = client.get("/v1/models").json()
    assert listed.keys() == {"object", "data"}
    for model in listed["data"]:
        assert_fits(Model, model, besides=OF_OUR_MODELS)
        assert client.get(f"/v1/models/{model['id']}").json() == model


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("chat/completions", {"model": "auto", "messages": []}, 400),
        ("chat/completions", {"model": "nobody", "messages": [{"role": "user", "content": "Hi"}]}, 404),
        ("completions", {"model": "auto"}, 400),
        ("embeddings", {"model": "echo", "input": "one"}, 400),
        ("embeddings", {"model": "hashed", "input": "one", "dimensions": 7}, 400),
        ("responses", {"model": "auto", "input": "Hi", "previous_response_id": "resp_1"}, 400),
        ("nowhere", {}, 404),
    ],
)
def test_error(client: httpx.Client, path: str, body: dict[str, Any], status: int):
    response = client.post(f"/v1/{path}", json=body)
    assert (response.status_code, response.json().keys()) == (status, {"error"})
    assert_fits(ErrorObject, response.json()["error"])
