import asyncio
import json
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.config import OpenAISpec, ParameterMap, Timeouts
from orchestrator.errors import ConfigError, ExpertError, ExpertRejected
from orchestrator.experts.base import Services
from orchestrator.experts.openai import MAX_BODY_BYTES, CompatibleServer
from orchestrator.experts.registry import make_expert
from orchestrator.experts.session import open_session
from orchestrator.types import Call, Endpoint, Usage
from tests.support.upstream import (
    BEHAVIOURS,
    DONE,
    PROMPT_TOKENS,
    Upstream,
    event,
    refusing_url,
    replies,
    running_upstream,
    sends,
    status,
)

MESSAGES = [{"role": "user", "content": "Hello"}]
BODIES = {
    "chat": {"messages": MESSAGES},
    "completion": {"prompt": "Hello"},
    "embedding": {"input": ["a", "b"]},
    "rerank": {"query": "q", "documents": ["a", "b"]},
}
STREAMED = [{}, {"stream": True}]
NO_HEADERS: dict[str, str] = {}
PATIENT = Timeouts(first_byte_s=5, idle_s=5)


def call(kind="chat", seconds=5.0, **fields) -> Call:
    return Call(kind, {"model": "auto", **BODIES[kind], **fields}, time.monotonic() + seconds)


@asynccontextmanager
async def asking(*script, timeouts=PATIENT, upstream_model=None, token="", headers=NO_HEADERS, **parameters):
    """An upstream that follows the script, and a function that asks it: `answer = await ask(call())`."""
    async with running_upstream() as upstream, open_session() as http:
        upstream.script.extend(script)
        server = CompatibleServer("me", http, timeouts, ParameterMap(**parameters), upstream_model, headers)
        yield upstream, lambda asked: server.answer(asked, Endpoint(upstream.base_url, token))


async def said(answer) -> bytes:
    return answer.body if answer.events is None else b"".join([block async for block in answer.events])


def chunks(stream: bytes) -> list[dict]:
    assert stream.endswith(DONE)
    return [json.loads(part.removeprefix(b"data: ")) for part in stream.removesuffix(DONE).split(b"\n\n") if part]


def text(stream: bytes) -> str:
    return "".join(c["choices"][0]["delta"].get("content", "") for c in chunks(stream) if c["choices"])


async def gone(upstream: Upstream) -> None:
    await asyncio.wait_for(upstream.gone.wait(), 0.5)


@pytest.mark.parametrize(
    ("kind", "path"),
    [("chat", "chat/completions"), ("completion", "completions"), ("embedding", "embeddings"), ("rerank", "rerank")],
)
async def test_each_kind_is_asked_at_its_path_and_answered_under_the_experts_name(kind, path):
    async with asking() as (upstream, ask):
        answer = await ask(call(kind))
        assert upstream.requests[0].path == f"/v1/{path}"
        assert json.loads(answer.body)["model"] == "me"
        assert answer.usage == Usage(PROMPT_TOKENS, upstream.num_chunks)


async def test_the_body_passes_but_for_the_model():
    async with asking(upstream_model="up-2026") as (upstream, ask):
        await ask(call(temperature=0.5, unheard_of={"a": [1, None]}))
        assert upstream.requests[0].body == {
            "model": "up-2026",
            "messages": MESSAGES,
            "temperature": 0.5,
            "unheard_of": {"a": [1, None]},
        }


async def test_the_model_is_called_as_the_expert_when_nothing_else_is_said():
    async with asking() as (upstream, ask):
        await ask(call())
        assert upstream.requests[0].body["model"] == "me"


async def test_the_parameter_map_is_applied():
    async with asking(rename={"max_tokens": "max_completion_tokens"}, reject=("logit_bias",)) as (upstream, ask):
        await ask(call(max_tokens=5))
        assert upstream.requests[0].body["max_completion_tokens"] == 5
        with pytest.raises(ExpertRejected, match="logit_bias"):
            await ask(call(logit_bias={}))
        assert len(upstream.requests) == 1


async def test_only_the_experts_own_headers_are_sent():
    async with asking(token="sk-secret", headers={"X-Team": "blue"}) as (upstream, ask):
        await ask(call())
        sent = {name.lower() for name in upstream.requests[0].headers}
        assert upstream.requests[0].headers["Authorization"] == "Bearer sk-secret"
        assert sent - {"host", "accept", "accept-encoding", "user-agent", "content-length"} == {
            "authorization",
            "content-type",
            "x-team",
        }


async def test_a_body_of_many_megabytes_arrives():
    image = "x" * (3 * 2**20)
    async with asking() as (upstream, ask):
        await ask(call(image=image))
        assert upstream.requests[0].body["image"] == image


async def test_a_compressed_answer_is_read():
    async with asking("gzip") as (_, ask):
        assert json.loads((await ask(call())).body)["choices"][0]["message"]["content"] == "Hello from upstream."


async def test_a_stream_is_passed_on_under_the_experts_name():
    async with asking() as (_, ask):
        answer = await ask(call(stream=True))
        stream = await said(answer)
        assert text(stream) == "Hello from upstream."
        assert {chunk["model"] for chunk in chunks(stream)} == {"me"}


async def test_events_may_be_torn_apart_anywhere():
    async with asking("bytewise") as (_, ask):
        assert text(await said(await ask(call(stream=True)))) == "Hello from upstream."


async def test_completions_are_streamed_too():
    async with asking() as (_, ask):
        stream = await said(await ask(call("completion", stream=True)))
        assert "".join(chunk["choices"][0]["text"] for chunk in chunks(stream)) == "Hello from upstream."


async def test_tool_calls_are_streamed():
    function = {"name": "weather", "arguments": '{"model":"up"}'}
    async with asking() as (upstream, ask):
        upstream.message = {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": function}]}
        stream = chunks(await said(await ask(call(stream=True))))
        assert stream[2]["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] == '{"model":"up"}'
        assert stream[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}])
async def test_usage_is_known_though_the_client_never_sees_it(options):
    async with asking() as (upstream, ask):
        answer = await ask(call(stream=True, **({} if options is None else {"stream_options": options})))
        stream = await said(answer)
        assert upstream.requests[0].body["stream_options"] == {"include_usage": True}
        assert answer.usage == Usage(PROMPT_TOKENS, upstream.num_chunks)
        assert b"usage" not in stream


async def test_a_client_that_asks_for_usage_sees_it():
    async with asking() as (_, ask):
        answer = await ask(call(stream=True, stream_options={"include_usage": True, "include_obfuscation": False}))
        assert chunks(await said(answer))[-1]["usage"]["prompt_tokens"] == PROMPT_TOKENS


async def test_an_expert_whose_map_drops_stream_options_is_not_asked_for_usage():
    async with asking(drop=("stream_options",)) as (upstream, ask):
        await said(await ask(call(stream=True)))
        assert "stream_options" not in upstream.requests[0].body


async def test_an_upstream_that_does_not_stream_is_made_to():
    async with asking("plain-json", "plain-json") as (_, ask):
        stream = await said(await ask(call(stream=True, stream_options={"include_usage": True})))
        assert text(stream) == "Hello from upstream."
        assert chunks(stream)[-1]["usage"]["prompt_tokens"] == PROMPT_TOKENS
        assert b"usage" not in await said(await ask(call(stream=True)))


async def test_a_stream_without_done_gets_one():
    async with asking("no-done") as (_, ask):
        assert text(await said(await ask(call(stream=True)))) == "Hello from upstream."


@pytest.mark.parametrize("fields", STREAMED)
@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ("redirect", "server_error"),
        ("reset", "reset"),
        ("reset-mid-body", "reset"),
        ("html", "malformed"),
        ("half-json", "malformed"),
        ("empty", "malformed"),
        ("wrong-types", "malformed"),
        ("error-200", "server_error"),
        ("401", "unauthorized"),
        ("404", "server_error"),
        ("408", "timeout"),
        ("429", "rate_limited"),
        ("500", "server_error"),
        ("503", "overloaded"),
        ("529", "overloaded"),
    ],
)
async def test_failures_before_content(behaviour, kind, fields):
    async with asking(behaviour) as (upstream, ask):
        with pytest.raises(ExpertError) as caught:
            await ask(call(**fields))
        assert caught.value.kind == kind
        assert not isinstance(caught.value, ExpertRejected)
        assert "127.0.0.1" not in caught.value.message
        assert len(upstream.requests) == 1


@pytest.mark.parametrize("kind", ["embedding", "rerank", "completion"])
@pytest.mark.parametrize("behaviour", ["html", "half-json", "empty", "wrong-types"])
async def test_other_kinds_are_checked_too(kind, behaviour):
    async with asking(behaviour) as (_, ask):
        with pytest.raises(ExpertError) as caught:
            await ask(call(kind))
        assert caught.value.kind == "malformed"


@pytest.mark.parametrize("fields", STREAMED)
@pytest.mark.parametrize(
    ("behaviour", "code"), [("400", None), ("422", None), ("context-400", "context_length_exceeded")]
)
async def test_rejections(behaviour, code, fields):
    async with asking(behaviour) as (_, ask):
        with pytest.raises(ExpertRejected) as caught:
            await ask(call(**fields))
        assert caught.value.code == code


async def test_a_rejection_does_not_say_where_the_upstream_is_or_what_our_key_is():
    rejection = status(400, message="hunter2 failed at 127.0.0.1:80, see /srv/models/a.gguf")
    async with asking(rejection, token="hunter2") as (_, ask):
        with pytest.raises(ExpertRejected) as caught:
            await ask(call())
        assert caught.value.message == "[hidden] failed at [hidden]:80, see [path]"


async def test_retry_after_is_passed_on():
    async with asking("429") as (_, ask):
        with pytest.raises(ExpertError) as caught:
            await ask(call())
        assert caught.value.retry_after_s == 7.0


async def test_a_refused_connection():
    async with open_session() as http:
        server = CompatibleServer("me", http, PATIENT, ParameterMap(), None)
        with refusing_url() as url, pytest.raises(ExpertError) as caught:
            await server.answer(call(), Endpoint(url, ""))
        assert caught.value.kind == "refused"


@pytest.mark.parametrize(("behaviour", "kind"), [("error-first", "server_error"), ("no-chunks", "truncated")])
async def test_a_stream_that_fails_before_content_is_no_answer(behaviour, kind):
    async with asking(behaviour) as (_, ask):
        with pytest.raises(ExpertError) as caught:
            await ask(call(stream=True))
        assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ("truncated", "truncated"),
        ("error-later", "server_error"),
        ("reset-mid-stream", "reset"),
        ("garbage", "malformed"),
    ],
)
async def test_a_stream_that_fails_after_content_yields_that_first(behaviour, kind):
    async with asking(behaviour) as (_, ask):
        answer = await ask(call(stream=True))
        seen = b""
        with pytest.raises(ExpertError) as caught:
            async for block in answer.events:
                seen += block
        assert caught.value.kind == kind
        assert seen.count(b"data: ") == 3


@pytest.mark.parametrize(
    ("behaviour", "fields", "timeouts", "seconds"),
    [
        ("hang", {}, Timeouts(first_byte_s=0.1), 5),
        ("hang", {"stream": True}, Timeouts(first_byte_s=0.1), 5),
        ("hang", {}, PATIENT, 0.1),
        ("hang", {}, PATIENT, -1),
        ("hang-mid-body", {}, Timeouts(idle_s=0.1), 5),
        ("hang-mid-body", {}, PATIENT, 0.1),
    ],
)
async def test_time_runs_out_before_the_answer(behaviour, fields, timeouts, seconds):
    async with asking(behaviour, timeouts=timeouts) as (upstream, ask):
        with pytest.raises(ExpertError) as caught:
            await ask(call(seconds=seconds, **fields))
        assert caught.value.kind == "timeout"
        if seconds > 0:
            await gone(upstream)


@pytest.mark.parametrize(("timeouts", "seconds"), [(Timeouts(idle_s=0.1), 5), (PATIENT, 0.2)])
async def test_time_runs_out_in_the_middle_of_a_stream(timeouts, seconds):
    async with asking("hang-mid-stream", timeouts=timeouts) as (upstream, ask):
        answer = await ask(call(stream=True, seconds=seconds))
        with pytest.raises(ExpertError) as caught:
            await said(answer)
        assert caught.value.kind == "timeout"
        await gone(upstream)


async def test_a_body_may_take_longer_than_its_first_byte():
    async def slowly(exchange):
        body = b'{"choices": [{"message": {"content": "hi"}}]}'
        exchange.upstream.pause_s = 0.2
        return await sends([body[:10], body[10:]])(exchange)

    async with asking(slowly, timeouts=Timeouts(first_byte_s=0.15)) as (_, ask):
        assert json.loads((await ask(call())).body)["choices"]


async def test_an_answer_without_end_is_refused():
    async with asking(replies(b"{" + b" " * MAX_BODY_BYTES)) as (_, ask):
        with pytest.raises(ExpertError, match="more than 64 MB"):
            await ask(call())


@pytest.mark.parametrize("fields", STREAMED)
async def test_cancelling_the_request_leaves_the_upstream(fields):
    async with asking("hang") as (upstream, ask):
        task = asyncio.create_task(ask(call(**fields)))
        await upstream.arrived.wait()
        task.cancel()
        await gone(upstream)
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_closing_an_answer_that_nobody_read_leaves_the_upstream():
    async with asking("hang-mid-stream") as (upstream, ask):
        answer = await ask(call(stream=True))
        await answer.aclose()
        await gone(upstream)


async def test_closing_an_answer_halfway_leaves_the_upstream():
    async with asking("hang-mid-stream") as (upstream, ask):
        answer = await ask(call(stream=True))
        await anext(answer.events)
        await answer.aclose()
        await gone(upstream)


@pytest.mark.parametrize("fields", STREAMED)
async def test_whole_answers_give_their_connection_back(fields):
    async with asking() as (upstream, ask):
        for _ in range(5):
            await said(await ask(call(**fields)))
        assert upstream.num_connections == 1


async def test_an_upstream_that_never_closes_its_stream_does_not_hold_the_client_up():
    stream = [event({"choices": [{"delta": {"content": "hi"}, "finish_reason": "stop"}]}), DONE]
    async with asking(sends(stream, then="hang")) as (upstream, ask):
        assert (await said(await ask(call(stream=True)))).endswith(DONE)
        await asyncio.wait_for(upstream.gone.wait(), 2)


async def test_every_scripted_behaviour_ends_in_an_answer_or_an_expert_error():
    async with asking(timeouts=Timeouts(first_byte_s=0.1, idle_s=0.1)) as (upstream, ask):
        for name in BEHAVIOURS:
            for fields in STREAMED:
                upstream.script.append(name)
                try:
                    assert await said(await ask(call(**fields)))
                except ExpertError as exc:
                    assert exc.kind != "not_loaded"


def services(http) -> Services:
    return Services(http=http, expert=lambda name: None, base_dir=Path())


async def test_the_backend_sends_its_key_and_headers(monkeypatch):
    monkeypatch.setenv("UPSTREAM_KEY", " sk-test\n")
    async with running_upstream() as upstream, open_session() as http:
        spec = OpenAISpec(
            name="me",
            backend="openai",
            base_url=upstream.base_url + "/",
            api_key_env="UPSTREAM_KEY",
            headers={"X-Team": "blue"},
        )
        await make_expert(spec, services(http)).answer(call())
        assert upstream.requests[0].headers["Authorization"] == "Bearer sk-test"
        assert upstream.requests[0].headers["X-Team"] == "blue"


async def test_a_secret_header_is_hidden_and_a_word_is_not():
    refusal = status(400, message="close, but long-and-secret is no token")
    async with asking(refusal, headers={"Connection": "close", "X-Token": "long-and-secret"}) as (_, ask):
        with pytest.raises(ExpertRejected) as caught:
            await ask(call())
    assert caught.value.message == "close, but [hidden] is no token"


@pytest.mark.parametrize(
    "fields", [{"api_key_env": "NO_SUCH_VARIABLE"}, {"base_url": "https://user:pass@api.example.com/v1"}]
)
async def test_what_can_not_work_is_a_configuration_error(fields):
    spec = OpenAISpec.model_validate(
        {"name": "me", "backend": "openai", "base_url": "https://api.example.com/v1", **fields}
    )
    async with open_session() as http:
        with pytest.raises(ConfigError, match="expert 'me'"):
            make_expert(spec, services(http))
