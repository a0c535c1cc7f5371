import asyncio
import gc
import json
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.config import LiteLLMSpec
from orchestrator.errors import ConfigError, ExpertError, ExpertRejected
from orchestrator.experts.base import Services
from orchestrator.experts.registry import make_expert
from orchestrator.experts.session import open_session
from orchestrator.types import Call, Usage
from tests.support.upstream import DONE, PROMPT_TOKENS, refusing_url, running_upstream, status

# litellm 1.100 walks over its chunks' attributes with `getattr`, which pydantic 2.11 deprecates for two of them.
# It also forgets to close a socket of its own.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

BODIES = {
    "chat": {"messages": [{"role": "user", "content": "Hello"}]},
    "embedding": {"input": ["a", "b"]},
    "rerank": {"query": "q", "documents": ["a", "b"]},
}
STREAMED = [{}, {"stream": True}]


@pytest.fixture(autouse=True)
async def closed_clients():
    """litellm keeps a client of its own where it can't use our session, and closes it when the process ends."""
    yield
    from litellm.llms.custom_httpx.async_client_cleanup import close_litellm_async_clients

    await close_litellm_async_clients()


@pytest.fixture(autouse=True, scope="module")
def forgotten_sockets():
    """litellm forgets to close one, which would be the failure of whichever test the garbage collector ran in."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("UPSTREAM_KEY", "sk-test")


def call(kind="chat", seconds=10.0, **fields) -> Call:
    return Call(kind, {"model": "auto", **BODIES[kind], **fields}, time.monotonic() + seconds)


def services(http) -> Services:
    return Services(http=http, expert=lambda name: None, base_dir=Path())


def expert_at(base_url, http, **fields):
    settings = {"name": "me", "backend": "litellm", "model": "openai/xyz", "api_key_env": "UPSTREAM_KEY", **fields}
    return make_expert(LiteLLMSpec.model_validate({"base_url": base_url, **settings}), services(http))


@asynccontextmanager
async def asking(*script, **fields):
    """An upstream that follows the script, and a function that asks it through litellm."""
    async with running_upstream() as upstream, open_session() as http:
        upstream.script.extend(script)
        yield upstream, expert_at(upstream.base_url, http, **fields).answer


async def said(answer) -> bytes:
    return b"".join([block async for block in answer.events])


def chunks(stream: bytes) -> list[dict]:
    assert stream.endswith(DONE)
    return [json.loads(part.removeprefix(b"data: ")) for part in stream.removesuffix(DONE).split(b"\n\n") if part]


async def test_chat_is_answered_under_the_experts_name():
    async with asking() as (upstream, ask):
        answer = await ask(call(temperature=0.5))
        body = json.loads(answer.body)
        assert (body["model"], body["object"]) == ("me", "chat.completion")
        assert body["choices"][0]["message"]["content"] == "Hello from upstream."
        assert answer.usage == Usage(PROMPT_TOKENS, upstream.num_chunks)
        assert upstream.requests[0].body["model"] == "xyz"
        assert upstream.requests[0].headers["Authorization"] == "Bearer sk-test"


async def test_tool_calls_are_answered():
    tool_call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    async with asking() as (upstream, ask):
        upstream.message = {"role": "assistant", "content": None, "tool_calls": [tool_call]}
        message = json.loads((await ask(call())).body)["choices"][0]["message"]
        assert message["content"] is None
        assert message["tool_calls"] == [tool_call]


async def test_embeddings():
    async with asking() as (upstream, ask):
        body = json.loads((await ask(call("embedding"))).body)
        assert (upstream.requests[0].path, body["model"], len(body["data"])) == ("/v1/embeddings", "me", 2)


async def test_rerank():
    async with running_upstream() as upstream, open_session() as http:
        expert = expert_at(f"{upstream.base_url}/rerank", http, model="jina_ai/xyz", kind="rerank")
        answer = await expert.answer(call("rerank"))
        assert [result["index"] for result in json.loads(answer.body)["results"]] == [0, 1]
        assert answer.usage.prompt_tokens > 0
        with pytest.raises(ExpertRejected, match="unheard_of"):
            await expert.answer(call("rerank", unheard_of=1))


async def test_a_stream_becomes_events():
    async with asking() as (upstream, ask):
        answer = await ask(call(stream=True))
        stream = chunks(await said(answer))
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in stream) == "Hello from upstream."
        assert [chunk["choices"][0]["finish_reason"] for chunk in stream[-2:]] == [None, "stop"]
        assert {chunk["model"] for chunk in stream} == {"me"}
        assert answer.usage == Usage(PROMPT_TOKENS, upstream.num_chunks)


async def test_usage_is_shown_to_clients_that_ask():
    async with asking() as (_, ask):
        last = chunks(await said(await ask(call(stream=True, stream_options={"include_usage": True}))))[-1]
        assert (last["choices"], last["usage"]["prompt_tokens"]) == ([], PROMPT_TOKENS)


async def test_unknown_fields_reach_the_upstream():
    async with asking() as (upstream, ask):
        await ask(call(unheard_of={"a": 1}, top_k=3))
        assert upstream.requests[0].body["unheard_of"] == {"a": 1}
        assert upstream.requests[0].body["top_k"] == 3


@pytest.mark.parametrize(
    "field", ["api_base", "base_url", "api_key", "custom_llm_provider", "mock_response", "model_list"]
)
async def test_clients_can_not_set_litellms_own_options(field):
    async with asking() as (upstream, ask):
        await ask(call(**{field: "http://127.0.0.1:9/v1"}))
        assert upstream.requests[0].headers["Authorization"] == "Bearer sk-test"


async def test_operators_can_set_litellms_own_options():
    async with asking(parameters={"set": {"extra_headers": {"X-Team": "blue"}}}) as (upstream, ask):
        await ask(call())
        assert upstream.requests[0].headers["X-Team"] == "blue"


@pytest.mark.parametrize("fields", STREAMED)
@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ("401", "unauthorized"),
        ("404", "server_error"),
        ("408", "timeout"),
        ("429", "rate_limited"),
        ("500", "server_error"),
        ("503", "overloaded"),
        ("reset", "server_error"),
    ],
)
async def test_failures(behaviour, kind, fields):
    async with asking(behaviour) as (upstream, ask):
        with pytest.raises(ExpertError) as caught:
            await ask(call(**fields))
        assert caught.value.kind == kind
        assert caught.value.retry_after_s == (7.0 if behaviour == "429" else None)
        assert len(upstream.requests) == 1


@pytest.mark.parametrize("behaviour", ["html", "half-json", "empty"])
@pytest.mark.parametrize("fields", STREAMED)
async def test_what_is_no_answer_is_a_failure(behaviour, fields):
    async with asking(behaviour) as (_, ask):
        with pytest.raises(ExpertError) as caught:
            await ask(call(**fields))
        assert caught.value.kind in {"malformed", "server_error"}


async def test_rejections_keep_the_upstreams_words_without_our_key():
    async with asking(status(400, message="sk-test says n must be 1")) as (_, ask):
        with pytest.raises(ExpertRejected) as caught:
            await ask(call())
        assert (caught.value.status, caught.value.message) == (400, "[hidden] says n must be 1")


async def test_a_prompt_that_does_not_fit():
    async with asking("context-400") as (_, ask):
        with pytest.raises(ExpertRejected) as caught:
            await ask(call())
        assert caught.value.code == "context_length_exceeded"


async def test_a_refused_connection():
    async with open_session() as http:
        with refusing_url() as url, pytest.raises(ExpertError) as caught:
            await expert_at(url, http).answer(call())
        assert caught.value.kind == "server_error"


@pytest.mark.parametrize(("behaviour", "kind"), [("error-later", "reset"), ("reset-mid-stream", "reset")])
async def test_a_stream_that_fails_after_content_yields_that_first(behaviour, kind):
    async with asking(behaviour) as (_, ask):
        answer = await ask(call(stream=True))
        assert b"Hello" in await anext(answer.events)
        with pytest.raises(ExpertError) as caught:
            await said(answer)
        assert caught.value.kind == kind


@pytest.mark.parametrize("fields", STREAMED)
async def test_time_runs_out_before_the_answer(fields):
    async with asking("hang", timeouts={"first_byte_s": 0.2}) as (_, ask):
        with pytest.raises(ExpertError) as caught:
            await ask(call(**fields))
        assert caught.value.kind == "timeout"


async def test_time_runs_out_in_the_middle_of_a_stream():
    async with asking("hang-mid-stream", timeouts={"idle_s": 0.2}) as (upstream, ask):
        answer = await ask(call(stream=True))
        with pytest.raises(ExpertError) as caught:
            await said(answer)
        assert caught.value.kind == "timeout"
        await asyncio.wait_for(upstream.gone.wait(), 0.5)


async def test_closing_an_answer_leaves_the_upstream():
    async with asking("hang-mid-stream") as (upstream, ask):
        answer = await ask(call(stream=True))
        await answer.aclose()
        await asyncio.wait_for(upstream.gone.wait(), 0.5)


@pytest.mark.parametrize("fields", [{"model": "no-provider"}, {"api_key_env": "NO_SUCH_VARIABLE"}])
async def test_what_can_not_work_is_a_configuration_error(fields):
    async with open_session() as http:
        with pytest.raises(ConfigError, match="expert 'me'"):
            expert_at(None, http, **fields)


def test_without_litellm_one_line_says_what_to_install():
    script = """
import sys
sys.modules["litellm"] = None
from orchestrator.config import LiteLLMSpec
from orchestrator.errors import MissingExtra
from orchestrator.experts.litellm import make
try:
    make(LiteLLMSpec(name="me", backend="litellm", model="openai/x"), None)
except MissingExtra as exc:
    sys.exit(exc.message)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "pip install 'switchyard-llm[litellm]'" in run.stderr
