"""litellm as a client: its `openai/` and `anthropic/` providers pointed at the gateway."""

import json
import os

import pytest

from tests.support.live import KEY, Live

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or it asks GitHub for prices when it is imported
litellm = pytest.importorskip("litellm")

HELLO = [{"role": "user", "content": "Say hello."}]
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}


def to(gateway: Live, provider: str) -> dict[str, str]:
    """Where litellm is told to go. Its two providers differ in who adds `/v1`."""
    return {
        "model": f"{provider}/large",
        "api_base": gateway.url if provider == "anthropic" else f"{gateway.url}/v1",
        "api_key": KEY,
    }


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_completion(gateway, provider):
    completion = await litellm.acompletion(**to(gateway, provider), messages=HELLO, max_tokens=100)
    assert completion.choices[0].message.content == "Hello from upstream."
    assert completion.usage.total_tokens > 0


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_stream(gateway, provider):
    stream = await litellm.acompletion(**to(gateway, provider), messages=HELLO, max_tokens=100, stream=True)
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(pieces) == "Hello from upstream."


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_tool_call(gateway, provider):
    gateway.upstream.message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    completion = await litellm.acompletion(**to(gateway, provider), messages=HELLO, tools=[WEATHER], max_tokens=100)
    (call,) = completion.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Oslo"})


async def test_embedding(gateway):
    where = to(gateway, "openai") | {"model": "openai/hashed"}
    answer = await litellm.aembedding(**where, input=["Oslo"], encoding_format="float")
    assert len(answer.data[0]["embedding"]) > 2


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_unknown_model_is_its_not_found_error(gateway, provider):
    with pytest.raises(litellm.NotFoundError):
        await litellm.acompletion(
            **to(gateway, provider) | {"model": f"{provider}/no-such-expert"},
            messages=HELLO,
            num_retries=0,
            max_tokens=9,
        )
