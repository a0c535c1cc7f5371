"""Anthropic's own client against the gateway."""

import json

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic

from tests.support.live import KEY, Live

HELLO = [{"role": "user", "content": "Say hello."}]
WEATHER = {
    "name": "weather",
    "description": "The weather now.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TWO_CALLS = {
    "role": "assistant",
    "reasoning_content": "Two towns.",
    "content": "Let me look.",
    "tool_calls": [
        {
            "id": f"call_{i}",
            "type": "function",
            "function": {"name": "weather", "arguments": json.dumps({"city": city})},
        }
        for i, city in enumerate(["Oslo", "Bergen"])
    ],
}


@pytest.fixture
def client(gateway: Live):
    with Anthropic(base_url=gateway.url, api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(gateway: Live):
    async with AsyncAnthropic(base_url=gateway.url, api_key=KEY, max_retries=0) as client:
        yield client


def test_message(client, gateway):
    message = client.messages.create(model="auto", max_tokens=100, system="Be brief.", messages=HELLO)
    assert [block.text for block in message.content] == ["Hello from upstream."]
    assert (message.model, message.stop_reason) == ("large", "end_turn")
    assert message.usage.input_tokens > 0
    assert [m["role"] for m in gateway.upstream.requests[0].body["messages"]] == ["system", "user"]


async def test_message_async(async_client):
    message = await async_client.messages.create(model="large", max_tokens=100, messages=HELLO)
    assert message.content[0].text == "Hello from upstream."


def test_bearer_token_works_too(gateway):
    with Anthropic(base_url=gateway.url, auth_token=KEY, api_key=None, max_retries=0) as client:
        assert client.messages.create(model="auto", max_tokens=100, messages=HELLO).content


def test_stream(client):
    with client.messages.stream(model="auto", max_tokens=100, messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text == message.content[0].text == "Hello from upstream."
    assert message.usage.output_tokens > 0
    assert message.usage.input_tokens > 0


async def test_stream_of_tool_use_async(async_client, gateway):
    gateway.upstream.message = TWO_CALLS
    async with async_client.messages.stream(model="auto", max_tokens=100, messages=HELLO, tools=[WEATHER]) as stream:
        message = await stream.get_final_message()
    assert [block.type for block in message.content] == ["text", "tool_use", "tool_use"]
    assert [block.input["city"] for block in message.content[1:]] == ["Oslo", "Bergen"]
    assert message.stop_reason == "tool_use"


def test_tool_loop(client, gateway):
    gateway.upstream.message = TWO_CALLS
    first = client.messages.create(model="auto", max_tokens=100, messages=HELLO, tools=[WEATHER])
    assert [block.type for block in first.content] == ["thinking", "text", "tool_use", "tool_use"]
    gateway.upstream.message = {"role": "assistant", "content": "Rain in both."}
    results = [{"type": "tool_result", "tool_use_id": block.id, "content": "rain"} for block in first.content[2:]]
    turns = [*HELLO, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    second = client.messages.create(model="auto", max_tokens=100, messages=turns, tools=[WEATHER])
    assert second.content[0].text == "Rain in both."
    assert [m["role"] for m in gateway.upstream.requests[-1].body["messages"]] == ["user", "assistant", "tool", "tool"]


def test_count_tokens_is_an_estimate_that_grows_with_the_prompt(client):
    def count(text: str) -> int:
        turns = [{"role": "user", "content": text}]
        return client.messages.count_tokens(model="auto", messages=turns, tools=[WEATHER]).input_tokens

    assert 0 < count("Hello") < count("Hello " * 100)


@pytest.mark.parametrize(
    ("fields", "error", "kind"),
    [
        ({"messages": []}, anthropic.BadRequestError, "invalid_request_error"),
        ({"model": "no-such-expert"}, anthropic.NotFoundError, "not_found_error"),
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            anthropic.BadRequestError,
            "invalid_request_error",
        ),
    ],
)
def test_errors_are_of_the_clients_classes_and_shape(client, fields, error, kind):
    with pytest.raises(error) as caught:
        client.messages.create(**{"model": "auto", "max_tokens": 100, "messages": HELLO, **fields})
    assert caught.value.body["error"]["type"] == kind


def test_wrong_key_is_an_authentication_error(client):
    with pytest.raises(anthropic.AuthenticationError) as caught:
        client.with_options(api_key="wrong").messages.create(model="auto", max_tokens=100, messages=HELLO)
    assert caught.value.body["error"]["type"] == "authentication_error"


def test_spent_limit_is_a_rate_limit_error(client):
    with pytest.raises(anthropic.RateLimitError):
        for _ in range(3):
            client.messages.create(model="limited", max_tokens=100, messages=HELLO)


def test_failed_experts_are_an_internal_server_error(client, gateway):
    gateway.upstream.script.extend(["500"] * 8)
    with pytest.raises(anthropic.InternalServerError):
        client.messages.create(model="down", max_tokens=100, messages=HELLO)


def test_broken_stream_raises(client, gateway):
    gateway.upstream.script.append("reset-mid-stream")
    with (
        pytest.raises(anthropic.APIStatusError, match="api_error"),
        client.messages.stream(model="flaky", max_tokens=100, messages=HELLO) as stream,
    ):
        stream.until_done()
