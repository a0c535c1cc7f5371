"""What the served backends launch, without launching it."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import MissingExtra
from orchestrator.experts.base import ServerCommand, Site
from orchestrator.experts.registry import launch_command, make_expert
from tests.support.experts import services, spec_of

BASE = Path("/srv/fleet")


def launched(**keys: Any) -> ServerCommand:
    site = Site(lambda weights: BASE / weights.path, BASE)
    command = launch_command(spec_of(name="expert", **keys), site)
    assert command is not None
    return command


def test_vllm_is_served_under_the_experts_name_with_its_key_in_the_environment() -> None:
    command = launched(backend="vllm", model="Qwen/Qwen3-8B", context=4096, args=["--max-model-len", "8192"])
    assert command.argv == (
        *("vllm", "serve", "Qwen/Qwen3-8B", "--host", "{host}", "--port", "{port}"),
        *("--served-model-name", "expert", "--max-model-len", "4096", "--max-model-len", "8192"),
    )
    assert command.env == {"VLLM_API_KEY": "{token}"}


def test_vllm_serves_weights_of_the_cache_too() -> None:
    command = launched(backend="vllm", model={"path": "qwen"}, executable="/opt/vllm/bin/vllm")
    assert command.argv[:3] == ("/opt/vllm/bin/vllm", "serve", "/srv/fleet/qwen")


def test_vllm_that_may_sleep_is_started_so_that_it_can() -> None:
    command = launched(backend="vllm", model="m", residency={"memory_gb": 9, "sleep": 2}, args=["--enforce-eager"])
    assert command.argv[-2:] == ("--enable-sleep-mode", "--enforce-eager")
    assert command.env == {"VLLM_API_KEY": "{token}", "VLLM_SERVER_DEV_MODE": "1"}
    assert command.sleep is not None


def test_another_level_of_sleep_is_a_reason_to_launch_anew() -> None:
    levels = [launched(backend="vllm", model="m", residency={"memory_gb": 9, "sleep": level}) for level in (1, 1, 2)]
    assert levels[0] == levels[1] != levels[2]


def test_a_command_line_is_split_as_a_shell_would_and_python_is_ours() -> None:
    command = launched(
        backend="command",
        command="python -m server --port {port} --title 'two words'",
        env={"KEY": "{token}"},
        health="/ready",
        timeouts={"load_s": 7},
    )
    assert command.argv == ("{python}", "-m", "server", "--port", "{port}", "--title", "two words")
    assert (command.env, command.health, command.timeout_s, command.cwd) == ({"KEY": "{token}"}, "/ready", 7, BASE)


def test_a_command_may_be_a_list() -> None:
    assert launched(backend="command", command=["serve", "a b", "{port}"]).argv == ("serve", "a b", "{port}")


@pytest.mark.parametrize(
    "keys",
    [
        {"backend": "llamacpp", "model": {"path": "a.gguf"}, "options": {"n_batch": 64}},
        {"backend": "onnx", "kind": "embedding", "model": {"path": "a.onnx"}, "tokenizer": {"path": "t.json"}},
        {"backend": "sentence-transformers", "kind": "rerank", "model": "some/model", "context": 128},
    ],
)
def test_our_own_servers_get_settings_by_stdin_and_the_token_by_the_environment(keys: dict[str, Any]) -> None:
    command = launched(**keys, env={"OMP_NUM_THREADS": "1"})
    assert command.stdin is not None
    assert json.loads(command.stdin)["name"] == "expert"
    assert "{token}" in command.env.values()
    assert command.env["OMP_NUM_THREADS"] == "1"
    assert not any("{token}" in argument for argument in command.argv)


def test_llamacpp_serves_two_requests_at_once_unless_told_otherwise() -> None:
    def concurrency(**limits: int) -> int:
        stdin = launched(backend="llamacpp", model={"path": "a.gguf"}, limits=limits).stdin
        assert stdin is not None
        value: int = json.loads(stdin)["concurrency"]
        return value

    assert (concurrency(), concurrency(rpm=60), concurrency(concurrency=5)) == (2, 2, 5)


@pytest.mark.skipif(find_spec("sentence_transformers") is not None, reason="sentence-transformers is installed")
def test_a_backend_that_is_not_installed_names_its_extra() -> None:
    spec = spec_of(name="expert", backend="sentence-transformers", kind="embedding", model="some/model")
    with pytest.raises(MissingExtra, match=r"switchyard-llm\[torch\]"):
        make_expert(spec, services())
