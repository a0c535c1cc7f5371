"""langchain-openai against the gateway."""

import json

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from tests.support.live import KEY, Live


class Town(BaseModel):
    """A town."""

    name: str
    people: int


@tool
def weather(city: str) -> str:
    """The weather now."""
    return f"rain in {city}"


CALLS = [
    {"id": f"call_{i}", "type": "function", "function": {"name": "weather", "arguments": json.dumps({"city": city})}}
    for i, city in enumerate(["Oslo", "Bergen"])
]


def chat(gateway: Live, **options) -> ChatOpenAI:
    return ChatOpenAI(model="auto", base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0, **options)


@pytest.mark.parametrize("options", [{}, {"use_responses_api": True}], ids=["chat", "responses"])
def test_invoke(gateway, options):
    answer = chat(gateway, **options).invoke("Say hello.")
    assert answer.text == "Hello from upstream."
    assert answer.usage_metadata["total_tokens"] > 0


@pytest.mark.parametrize("options", [{}, {"use_responses_api": True}], ids=["chat", "responses"])
async def test_stream(gateway, options):
    chunks = [chunk async for chunk in chat(gateway, **options).astream("Say hello.")]
    assert "".join(chunk.text for chunk in chunks) == "Hello from upstream."
    assert len(chunks) > 2


@pytest.mark.parametrize("options", [{}, {"use_responses_api": True}], ids=["chat", "responses"])
def test_tool_loop(gateway, options):
    agent = chat(gateway, **options).bind_tools([weather])
    question = HumanMessage("How is the weather?")
    gateway.upstream.message = {"role": "assistant", "content": None, "tool_calls": CALLS}
    asked = agent.invoke([question])
    assert [call["args"] for call in asked.tool_calls] == [{"city": "Oslo"}, {"city": "Bergen"}]
    gateway.upstream.message = {"role": "assistant", "content": "Rain in both."}
    results = [ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]) for call in asked.tool_calls]
    assert agent.invoke([question, asked, *results]).text == "Rain in both."
    assert [m["role"] for m in gateway.upstream.requests[-1].body["messages"]] == ["user", "assistant", "tool", "tool"]


def test_structured_output(gateway):
    gateway.upstream.message = {"role": "assistant", "content": '{"name": "Oslo", "people": 700000}'}
    assert chat(gateway).with_structured_output(Town).invoke("Which town?") == Town(name="Oslo", people=700000)


def test_embeddings(gateway):
    embeddings = OpenAIEmbeddings(
        model="hashed",
        base_url=f"{gateway.url}/v1",
        api_key=KEY,
        check_embedding_ctx_length=False,  # or tiktoken fetches its vocabulary from the network
    )
    one, other = embeddings.embed_documents(["Oslo", "Bergen"])
    assert one == embeddings.embed_query("Oslo") != other
