"""Requests in the shapes that coding agents send: long prompts, many tools, parallel calls, images, cache hints.

The texts are ours; field for field, the shapes are those of Claude Code (Messages), Codex (Responses) and of the agents that
speak chat completions (Cline, OpenCode, Aider).
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from anthropic.types import RawMessageStreamEvent
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from openai.types.responses import ResponseStreamEvent

from tests.support.live import KEY, Live
from tests.support.typed import assert_fits

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
EPHEMERAL = {"cache_control": {"type": "ephemeral"}}
GUIDE = "Work in small steps. Read a file before you change it. Never guess a path.\n" * 200
TOOL_NAMES = ("read", "write", "edit", "glob", "grep", "shell", "todo", "fetch", "task", "plan", "notebook", "image")
PARAMETERS = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {
        "path": {"type": "string", "description": "An absolute path."},
        "limit": {"type": "number"},
        "edits": {"type": "array", "items": {"type": "object", "properties": {"old": {"type": "string"}}}},
    },
    "required": ["path"],
    "additionalProperties": False,
}
CALLS = [
    {"id": f"call_{i}", "type": "function", "function": {"name": "read", "arguments": json.dumps({"path": path})}}
    for i, path in enumerate(["/src/a.py", "/src/b.py", "/src/c.py"])
]


@pytest.fixture
def client(gateway: Live) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        yield client


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """The data of an SSE response; each event's name is its type."""
    assert response.status_code == 200, response.text
    found = []
    for block in response.text.strip().split("\n\n"):
        name, _, data = block.partition("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def claude_code_request() -> dict[str, Any]:
    """Mid-task: three files were read at once, one of them wasn't there, one was a screenshot."""
    reads = [{"type": "tool_use", "id": f"toolu_{i}", "name": "read", "input": {"path": f"/src/{i}"}} for i in range(3)]
    screenshot = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    return {
        "model": "auto",
        "max_tokens": 32000,
        "temperature": 1,
        "stream": True,
        "metadata": {"user_id": f"user_{'0' * 64}_account__session_{'1' * 36}"},
        "thinking": {"type": "enabled", "budget_tokens": 31999},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "system": [
            {"type": "text", "text": "You help with code."},
            {"type": "text", "text": GUIDE, **EPHEMERAL},
            {"type": "text", "text": "Working folder: /src", **EPHEMERAL},
        ],
        "tools": [
            {"name": name, "description": f"Use it to {name}. " * 40, "input_schema": PARAMETERS} for name in TOOL_NAMES
        ],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "<reminder>The list of tasks is empty.</reminder>"},
                    {"type": "text", "text": "Why is the button off?", **EPHEMERAL},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Three files.", "signature": "c2ln"},
                    {"type": "text", "text": "I look at them."},
                    *reads,
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_0", "content": "1\tpadding = 3"},
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "No such file.", "is_error": True},
                    {"type": "tool_result", "tool_use_id": "toolu_2", "content": [screenshot], **EPHEMERAL},
                    {"type": "text", "text": "<reminder>Two files left.</reminder>"},
                ],
            },
        ],
    }


CLAUDE_CODE_HEADERS = {
    "x-api-key": KEY,
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "interleaved-thinking-2025-05-14,context-management-2025-06-27",
    "anthropic-dangerous-direct-browser-access": "true",
    "x-app": "cli",
    "user-agent": "claude-cli/2.1.0 (external, cli)",
}


def test_claude_code_like_request_arrives_as_a_clean_chat_completion(client, gateway):
    response = client.post("/v1/messages?beta=true", json=claude_code_request(), headers=CLAUDE_CODE_HEADERS)
    assert response.status_code == 200
    body = gateway.upstream.requests[0].body
    assert_fits(CompletionCreateParamsStreaming, body)
    assert [m["role"] for m in body["messages"]] == ["system", "user", "assistant", "tool", "tool", "tool", "user"]
    assert [call["id"] for call in body["messages"][2]["tool_calls"]] == ["toolu_0", "toolu_1", "toolu_2"]
    assert body["messages"][4]["content"].endswith("No such file.")
    assert [part["type"] for part in body["messages"][-1]["content"]] == ["image_url", "text"]
    assert len(body["tools"]) == len(TOOL_NAMES)
    assert "cache_control" not in json.dumps(body)


def test_claude_code_like_request_gets_a_well_formed_stream_of_parallel_calls(client, gateway):
    gateway.upstream.message = {"role": "assistant", "content": "Again.", "tool_calls": CALLS}
    found = events(client.post("/v1/messages?beta=true", json=claude_code_request(), headers=CLAUDE_CODE_HEADERS))
    for event in found:
        if event["type"] != "ping":
            assert_fits(RawMessageStreamEvent, event)
    blocks = [event["content_block"] for event in found if event["type"] == "content_block_start"]
    assert [block["type"] for block in blocks] == ["text", "tool_use", "tool_use", "tool_use"]
    said = ["", "", "", ""]
    for event in found:
        if event["type"] == "content_block_delta":
            said[event["index"]] += event["delta"].get("text") or event["delta"].get("partial_json")
    assert said[0] == "Again."
    assert [json.loads(text)["path"] for text in said[1:]] == ["/src/a.py", "/src/b.py", "/src/c.py"]
    assert found[-2]["delta"]["stop_reason"] == "tool_use"


def test_claude_code_like_token_count(client):
    request = claude_code_request()
    for field in ("max_tokens", "stream", "temperature", "metadata"):
        del request[field]
    response = client.post("/v1/messages/count_tokens?beta=true", json=request, headers=CLAUDE_CODE_HEADERS)
    assert response.json()["input_tokens"] > len(GUIDE) / 8


def codex_request() -> dict[str, Any]:
    """The second step of a task: a command has run, and a picture was looked at."""
    picture = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"}
    return {
        "model": "auto",
        "instructions": GUIDE,
        "input": [
            {
                "type": "message",
                "role": "developer",
                "content": [{"type": "input_text", "text": "<permissions>read only</permissions>"}],
            },
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "<environment><cwd>/src</cwd></environment>"}],
            },
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Why is it off?"}, picture]},
            {
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": "List first."}],
                "content": None,
                "encrypted_content": "Z2liYmVyaXNo",
            },
            {"type": "function_call", "name": "shell", "arguments": '{"command":["ls"]}', "call_id": "call_ls"},
            {"type": "function_call", "name": "shell", "arguments": '{"command":["pwd"]}', "call_id": "call_pwd"},
            {"type": "function_call_output", "call_id": "call_ls", "output": '{"output":"a.py\\n","exit_code":0}'},
            {"type": "function_call_output", "call_id": "call_pwd", "output": [{"type": "input_text", "text": "/src"}]},
        ],
        "tools": [
            {
                "type": "function",
                "name": name,
                "description": f"Use it to {name}. " * 20,
                "strict": False,
                "parameters": PARAMETERS,
            }
            for name in TOOL_NAMES
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "0199-session",
        "text": {"verbosity": "low"},
    }


CODEX_HEADERS = {
    "authorization": f"Bearer {KEY}",
    "originator": "codex_cli_rs",
    "session_id": "0199-session",
    "accept": "text/event-stream",
    "user-agent": "codex_cli_rs/0.80.0",
}


def test_codex_like_request_arrives_as_a_clean_chat_completion(client, gateway):
    response = client.post("/v1/responses", json=codex_request(), headers=CODEX_HEADERS)
    assert response.status_code == 200
    body = gateway.upstream.requests[0].body
    assert_fits(CompletionCreateParamsStreaming, body)
    assert [m["role"] for m in body["messages"]] == ["system", "user", "user", "assistant", "tool", "tool"]
    assert body["messages"][0]["content"].endswith("<permissions>read only</permissions>")
    assert (body["reasoning_effort"], body["verbosity"], body["parallel_tool_calls"]) == ("medium", "low", True)


def test_codex_like_request_gets_a_well_formed_stream_of_parallel_calls(client, gateway):
    gateway.upstream.message = {"role": "assistant", "content": "Again.", "tool_calls": CALLS}
    found = events(client.post("/v1/responses", json=codex_request(), headers=CODEX_HEADERS))
    for event in found:
        assert_fits(ResponseStreamEvent, event, besides={"store"})
    done = [event["item"] for event in found if event["type"] == "response.output_item.done"]
    assert [item["type"] for item in done] == ["message", "function_call", "function_call", "function_call"]
    assert [json.loads(item["arguments"])["path"] for item in done[1:]] == ["/src/a.py", "/src/b.py", "/src/c.py"]
    assert found[-1]["type"] == "response.completed"
    assert found[-1]["response"]["output"] == done


def chat_agent_request() -> dict[str, Any]:
    """Content parts with Anthropic's cache hints in them, as agents send them to gateways, and a picture of the screen."""
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "high"}}
    return {
        "model": "auto",
        "temperature": 0,
        "max_tokens": 8192,
        "stream": True,
        "stream_options": {"include_usage": True},
        "parallel_tool_calls": True,
        "tools": [
            {"type": "function", "function": {"name": name, "description": name * 50, "parameters": PARAMETERS}}
            for name in TOOL_NAMES
        ],
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": GUIDE, **EPHEMERAL}]},
            {"role": "user", "content": [{"type": "text", "text": "Why is it off?", **EPHEMERAL}, picture]},
            {"role": "assistant", "content": None, "tool_calls": CALLS},
            *({"role": "tool", "tool_call_id": call["id"], "content": "padding = 3"} for call in CALLS),
        ],
    }


def test_chat_agent_like_request_reaches_the_expert_untouched(client, gateway):
    request = chat_agent_request()
    response = client.post("/v1/chat/completions", json=request, headers={"authorization": f"Bearer {KEY}"})
    assert response.status_code == 200
    assert response.text.rstrip().endswith("data: [DONE]")
    assert gateway.upstream.requests[0].body == request | {"model": "upstream"}


@pytest.mark.parametrize(
    ("path", "make", "headers"),
    [
        ("/v1/messages", claude_code_request, CLAUDE_CODE_HEADERS),
        ("/v1/responses", codex_request, CODEX_HEADERS),
        ("/v1/chat/completions", chat_agent_request, {"authorization": f"Bearer {KEY}"}),
    ],
)
def test_expert_that_cannot_hold_the_request_is_never_asked(client, gateway, path, make, headers):
    response = client.post(path, json={**make(), "model": "small"}, headers=headers)
    assert response.status_code == 400
    assert gateway.upstream.requests == []
