"""A fleet from another gateway's configuration. So far: LiteLLM's proxy.

    text, left_out = from_litellm(Path("config.yaml"))
    # text: an experts.yaml; left_out: what has no counterpart, one line each, for a person to read

Keys are carried over as the names of their variables; a key that stands in the file itself is never copied. Deployments of one
`model_name` become experts of their own: choosing among them is routing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from orchestrator.errors import ConfigError
from orchestrator.fleet.configedit import as_item
from orchestrator.fleet.configfile import parse_config, read_text

_OPENAI_URL = "https://api.openai.com/v1"
_OPENAI_PROVIDERS = frozenset({"openai", "hosted_vllm"})
_KINDS = {"chat": "chat", "completion": "completion", "embedding": "embedding", "rerank": "rerank"}
_CAPABILITIES = {
    "supports_function_calling": "tools",
    "supports_vision": "vision",
    "supports_response_schema": "json_schema",
}
_REQUEST_PARAMETERS = frozenset(
    {
        "temperature",
        "top_p",
        "max_tokens",
        "max_completion_tokens",
        "seed",
        "stop",
        "presence_penalty",
        "frequency_penalty",
    }
)
_PLACES = {
    "rpm": ("limits", "rpm"),
    "max_parallel_requests": ("limits", "concurrency"),
    "timeout": ("timeouts", "first_byte_s"),
    "input_cost_per_token": ("price", "input"),
    "output_cost_per_token": ("price", "output"),
}
_READ = frozenset({"model", "api_base", "api_key", "mode", "max_input_tokens", *_CAPABILITIES})


def from_litellm(path: Path) -> tuple[str, list[str]]:
    """`(experts.yaml, what was left out)`. Raises `ConfigError` when nothing can be made of the file."""
    try:
        data = YAML(typ="safe", pure=True).load(read_text(path))
    except YAMLError as exc:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(exc).split())}") from exc
    models = data.get("model_list") if isinstance(data, dict) else None
    if not isinstance(models, list):
        raise ConfigError(f"{path}: model_list: missing, expected LiteLLM's list of models")
    left_out = [f"{section}: has no counterpart here" for section in data if section != "model_list"]
    experts: list[dict[str, Any]] = []
    for i, entry in enumerate(models):
        place = f"model_list[{i}]"
        try:
            expert = _expert(entry, place, left_out)
        except (KeyError, TypeError, AttributeError, ValueError) as exc:
            raise ConfigError(f"{path}: {place}: expected model_name and litellm_params with model") from exc
        if expert is not None:
            experts.append({**expert, "name": _unique(expert["name"], experts)})
    text = f"# From LiteLLM's {path.name}.\nversion: 1\n\nexperts:\n" + "".join(as_item(e, indent=2) for e in experts)
    parse_config(text, path.with_name("experts.yaml"))
    return text, left_out


def _expert(entry: Mapping[str, Any], place: str, left_out: list[str]) -> dict[str, Any] | None:
    settings: dict[str, Any] = {**(entry.get("model_info") or {}), **entry["litellm_params"]}
    name, mode = str(entry["model_name"]), settings.get("mode") or "chat"
    if "*" in name or mode not in _KINDS:
        left_out.append(f"{place} ({name}): " + ("a wildcard names no model" if "*" in name else f"mode {mode}"))
        return None
    expert = {"name": re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-."), "kind": _KINDS[mode], **_backend(settings)}
    key = settings.get("api_key")
    if isinstance(key, str) and key.startswith("os.environ/"):
        expert["api_key_env"] = key.removeprefix("os.environ/")
    elif key is not None:
        left_out.append(f"{place}.api_key: put the key into an environment variable, and its name into api_key_env")
    if settings.get("max_input_tokens"):
        expert["context"] = settings["max_input_tokens"]
    if offered := [capability for flag, capability in _CAPABILITIES.items() if settings.get(flag)]:
        expert["capabilities"] = ["streaming", *offered]
    for key, value in settings.items():
        _carry(expert, key, value, place, left_out)
    return expert


def _backend(settings: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI-compatible servers are asked directly; everything else through litellm."""
    provider, slash, model = str(settings["model"]).partition("/")
    base_url = settings.get("api_base")
    if slash and provider in _OPENAI_PROVIDERS and (base_url or provider == "openai"):
        return {"backend": "openai", "base_url": base_url or _OPENAI_URL, "model": model}
    return {"backend": "litellm", "model": settings["model"], **({"base_url": base_url} if base_url else {})}


def _carry(expert: dict[str, Any], key: str, value: Any, place: str, left_out: list[str]) -> None:
    if key in _REQUEST_PARAMETERS:
        expert.setdefault("parameters", {}).setdefault("set", {})[key] = value
    elif key in _PLACES:
        section, name = _PLACES[key]
        expert.setdefault(section, {})[name] = round(float(value) * 1e6, 6) if section == "price" else value
    elif key not in _READ:
        left_out.append(f"{place}.{key}: has no counterpart here")


def _unique(name: str, experts: list[dict[str, Any]]) -> str:
    taken = {expert["name"] for expert in experts}
    return next(n for n in (name, *(f"{name}-{i}" for i in range(2, len(taken) + 3))) if n not in taken)
