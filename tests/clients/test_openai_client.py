"""OpenAI's own client against the gateway: what it sends must be understood, what it gets must fit its types."""

import base64
import json

import numpy as np
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from tests.support.live import KEY, Live
from tests.support.upstream import replies

HELLO = [{"role": "user", "content": "Say hello."}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather now.", "parameters": SCHEMA, "strict": True},
}
TWO_CALLS = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {
            "id": f"call_{i}",
            "type": "function",
            "function": {"name": "weather", "arguments": json.dumps({"city": city})},
        }
        for i, city in enumerate(["Oslo", "Bergen"])
    ],
}


class Town(BaseModel):
    name: str
    people: int


@pytest.fixture
def client(gateway: Live):
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(gateway: Live):
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def test_chat(client, gateway):
    completion = client.chat.completions.create(model="auto", messages=HELLO, temperature=0.5, seed=7)
    assert completion.choices[0].message.content == "Hello from upstream."
    assert completion.model == "large"
    assert completion.usage.total_tokens > 0
    assert gateway.upstream.requests[0].body["seed"] == 7


async def test_chat_async(async_client):
    completion = await async_client.chat.completions.create(model="large", messages=HELLO)
    assert completion.choices[0].message.content == "Hello from upstream."


def test_decision_is_in_the_headers(client):
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=HELLO)
    assert raw.headers["x-switchyard-expert"] == "large"
    assert raw.headers["x-switchyard-decision-id"]


def test_explain_adds_the_reasons(client):
    completion = client.chat.completions.create(
        model="auto", messages=HELLO, extra_body={"switchyard": {"explain": True}}
    )
    assert completion.model_extra["switchyard"]["expert"] == "large"


def test_stream_with_usage(client):
    with client.chat.completions.create(
        model="auto", messages=HELLO, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Hello from upstream."
    assert [c.usage is not None for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert {chunk.model for chunk in chunks} == {"large"}


async def test_stream_async_without_usage(async_client):
    stream = await async_client.chat.completions.create(model="auto", messages=HELLO, stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hello from upstream."
    assert all(chunk.usage is None for chunk in chunks)


def test_parallel_tool_calls(client, gateway):
    gateway.upstream.message = TWO_CALLS
    completion = client.chat.completions.create(model="auto", messages=HELLO, tools=[WEATHER], parallel_tool_calls=True)
    calls = completion.choices[0].message.tool_calls
    assert [json.loads(call.function.arguments)["city"] for call in calls] == ["Oslo", "Bergen"]
    assert completion.choices[0].finish_reason == "tool_calls"


def test_streamed_parallel_tool_calls_are_put_together(client, gateway):
    gateway.upstream.message = TWO_CALLS
    with client.chat.completions.stream(model="auto", messages=HELLO, tools=[WEATHER]) as stream:
        completion = stream.get_final_completion()
    calls = completion.choices[0].message.tool_calls
    assert [call.function.parsed_arguments["city"] for call in calls] == ["Oslo", "Bergen"]


def test_structured_output_is_parsed(client, gateway):
    gateway.upstream.message = {"role": "assistant", "content": '{"name": "Oslo", "people": 700000}'}
    completion = client.chat.completions.parse(model="auto", messages=HELLO, response_format=Town)
    assert completion.choices[0].message.parsed == Town(name="Oslo", people=700000)
    assert gateway.upstream.requests[0].body["response_format"]["type"] == "json_schema"


def test_embeddings_in_the_clients_default_encoding(client, gateway):
    vector = np.array([0.25, -1.5], dtype=np.float32)
    data = [{"object": "embedding", "index": 0, "embedding": base64.b64encode(vector.tobytes()).decode()}]
    usage = {"prompt_tokens": 2, "total_tokens": 2}
    body = {"object": "list", "data": data, "model": "m", "usage": usage}
    gateway.upstream.script.append(replies(json.dumps(body).encode()))
    answer = client.embeddings.create(model="vectors", input="Oslo")
    assert answer.data[0].embedding == [0.25, -1.5]
    assert gateway.upstream.requests[0].body["encoding_format"] == "base64"


def test_embeddings_of_our_own_experts_in_either_encoding(client):
    encoded = client.embeddings.create(model="hashed", input=["Oslo", "Bergen"])
    plain = client.embeddings.create(model="hashed", input=["Oslo", "Bergen"], encoding_format="float")
    assert np.allclose([d.embedding for d in encoded.data], [d.embedding for d in plain.data])


def test_models_are_listed_and_found(client):
    assert {"auto", "large", "vectors"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("large").id == "large"


def test_response(client, gateway):
    response = client.responses.create(model="auto", instructions="Be brief.", input="Hello?", metadata={"ticket": "7"})
    assert response.output_text == "Hello from upstream."
    assert (response.status, response.model, response.metadata) == ("completed", "large", {"ticket": "7"})
    assert [m["role"] for m in gateway.upstream.requests[0].body["messages"]] == ["system", "user"]


async def test_response_stream(async_client):
    async with async_client.responses.stream(model="auto", input="Hello?") as stream:
        events = [event async for event in stream]
        response = await stream.get_final_response()
    assert response.output_text == "Hello from upstream."
    assert (
        "".join(event.delta for event in events if event.type == "response.output_text.delta") == response.output_text
    )
    assert response.usage.total_tokens > 0


def test_response_tool_loop(client, gateway):
    gateway.upstream.message = TWO_CALLS
    tool = {"type": "function", **WEATHER["function"]}
    first = client.responses.create(model="auto", input=HELLO, tools=[tool])
    assert [json.loads(item.arguments)["city"] for item in first.output] == ["Oslo", "Bergen"]
    gateway.upstream.message = {"role": "assistant", "content": "Rain in both."}
    results = [{"type": "function_call_output", "call_id": item.call_id, "output": "rain"} for item in first.output]
    second = client.responses.create(model="auto", input=[*HELLO, *first.output, *results], tools=[tool])
    assert second.output_text == "Rain in both."
    assert [m["role"] for m in gateway.upstream.requests[-1].body["messages"]] == ["user", "assistant", "tool", "tool"]


def test_response_stream_of_tool_calls(client, gateway):
    gateway.upstream.message = TWO_CALLS
    tool = {"type": "function", **WEATHER["function"]}
    with client.responses.stream(model="auto", input=HELLO, tools=[tool]) as stream:
        response = stream.get_final_response()
    assert [item.parsed_arguments["city"] for item in response.output] == ["Oslo", "Bergen"]


def test_response_parsed(client, gateway):
    gateway.upstream.message = {"role": "assistant", "content": '{"name": "Oslo", "people": 700000}'}
    response = client.responses.parse(model="auto", input="Which town?", text_format=Town)
    assert response.output_parsed == Town(name="Oslo", people=700000)


def test_stateful_response_is_refused(client):
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        client.responses.create(model="auto", input="Hello?", previous_response_id="resp_1")


def test_broken_response_stream_ends_in_failed(client, gateway):
    gateway.upstream.script.append("reset-mid-stream")
    with client.responses.create(model="flaky", input="Hello?", stream=True) as stream:
        last = list(stream)[-1]
    assert last.type == "response.failed"
    assert last.response.error.code == "server_error"


def test_broken_chat_stream_raises(client, gateway):
    gateway.upstream.script.append("reset-mid-stream")
    with (
        pytest.raises(openai.APIError),
        client.chat.completions.create(model="flaky", messages=HELLO, stream=True) as stream,
    ):
        list(stream)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"messages": []}, openai.BadRequestError),
        ({"model": "no-such-expert"}, openai.NotFoundError),
        ({"model": "small", "messages": [{"role": "user", "content": "word " * 5000}]}, openai.BadRequestError),
    ],
)
def test_errors_are_of_the_clients_classes(client, fields, error):
    with pytest.raises(error) as caught:
        client.chat.completions.create(**{"model": "auto", "messages": HELLO, **fields})
    assert caught.value.body["message"]


def test_wrong_key_is_an_authentication_error(client):
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()


def test_failed_experts_are_an_internal_server_error(client, gateway):
    gateway.upstream.script.extend(["500"] * 8)
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="down", messages=HELLO)
    assert caught.value.status_code == 502


def test_spent_limit_is_a_rate_limit_error(client):
    with pytest.raises(openai.RateLimitError) as caught:
        for _ in range(3):
            client.chat.completions.create(model="limited", messages=HELLO)
    assert int(caught.value.response.headers["retry-after"]) > 0
