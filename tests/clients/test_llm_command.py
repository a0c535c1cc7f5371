"""The `llm` command line tool against the gateway, as a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.support.live import KEY, Live
from tests.support.upstream import Exchange, Handler, ok

COMMAND = Path(sys.executable).with_name("llm")
pytestmark = pytest.mark.skipif(not COMMAND.exists(), reason="the llm command is not installed")


def llm(gateway: Live, folder: Path, *arguments: str) -> str:
    """Run it with its user folder in `folder`; what it printed."""
    model = {
        "model_id": "switchyard",
        "model_name": "auto",
        "api_base": f"{gateway.url}/v1",
        "api_key_name": "switchyard",
        "supports_schema": True,
        "supports_tools": True,
    }
    (folder / "extra-openai-models.yaml").write_text(json.dumps([model]))
    (folder / "keys.json").write_text(json.dumps({"switchyard": KEY}))
    done = subprocess.run(
        [COMMAND, "prompt", "-m", "switchyard", *arguments],
        env={**os.environ, "LLM_USER_PATH": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_streamed_prompt(gateway, tmp_path):
    assert llm(gateway, tmp_path, "Say hello.", "--system", "Be brief.") == "Hello from upstream."
    body = gateway.upstream.requests[0].body
    assert body["stream"] is True
    assert [m["role"] for m in body["messages"]] == ["system", "user"]


def test_whole_prompt_with_a_schema(gateway, tmp_path):
    gateway.upstream.message = {"role": "assistant", "content": '{"name": "Oslo"}'}
    assert json.loads(llm(gateway, tmp_path, "Which town?", "--no-stream", "--schema", "name str, people int")) == {
        "name": "Oslo"
    }
    assert gateway.upstream.requests[0].body["response_format"]["type"] == "json_schema"


def test_tool_loop(gateway, tmp_path):
    def says(message: dict[str, Any]) -> Handler:
        async def handler(exchange: Exchange) -> web.StreamResponse:
            exchange.upstream.message = {"role": "assistant", **message}
            return await ok(exchange)

        return handler

    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    gateway.upstream.script.extend([says({"content": None, "tool_calls": [call]}), says({"content": "Rain."})])
    function = "def weather(city: str) -> str:\n    return f'rain in {city}'"
    assert llm(gateway, tmp_path, "How is it?", "--functions", function).endswith("Rain.")
    result = gateway.upstream.requests[1].body["messages"][-1]
    assert (result["role"], result["tool_call_id"], result["content"]) == ("tool", "call_1", "rain in Oslo")
