"""Which module makes which experts: the one list of backends, imported when a spec first asks for one.

    expert = make_expert(spec, services)
    command = launch_command(spec, site)          # for a spec that holds weights

A new backend is one module with `make` (and `launch`, if it holds weights), a spec in `orchestrator/config/`, and a line here.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from orchestrator.config import ExpertBase, ServedBase
from orchestrator.errors import ConfigError
from orchestrator.experts.base import Backend, Expert, ServedBackend, ServerCommand, Services, Site

BACKENDS: dict[str, str] = {
    "openai": "orchestrator.experts.openai",
    "litellm": "orchestrator.experts.litellm",
    "llamacpp": "orchestrator.experts.llamacpp",
    "vllm": "orchestrator.experts.vllm",
    "command": "orchestrator.experts.command",
    "onnx": "orchestrator.experts.onnx",
    "sentence-transformers": "orchestrator.experts.sentence_transformers",
    "persona": "orchestrator.experts.persona",
    "prompts": "orchestrator.experts.prompts",
    "function": "orchestrator.experts.function",
    "replay": "orchestrator.experts.replay",
    "echo": "orchestrator.experts.echo",
}


def backend(name: str) -> Backend:
    """The module behind a backend's name. Raises `ConfigError` that lists the known ones."""
    if name not in BACKENDS:
        raise ConfigError(f"'{name}' is no backend; expected one of {', '.join(BACKENDS)}")
    return cast(Backend, import_module(BACKENDS[name]))


def make_expert(spec: ExpertBase, services: Services) -> Expert:
    """The expert that a spec of `experts.yaml` describes."""
    return backend(spec.backend).make(spec, services)


def launch_command(spec: ServedBase, site: Site) -> ServerCommand:
    """How to launch the server of an expert that holds weights, on this machine."""
    return cast(ServedBackend, backend(spec.backend)).launch(spec, site)
