"""LiteLLM's config.yaml becomes an experts.yaml, and what is lost is told."""

import pytest

from orchestrator.errors import ConfigError
from orchestrator.fleet.configfile import parse_config
from orchestrator.fleet.importers import from_litellm
from tests.support.cli import switchyard

LITELLM = """\
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
      api_key: os.environ/OPENAI_API_KEY
      rpm: 600
      temperature: 0.2
    model_info: {mode: chat, supports_function_calling: true, input_cost_per_token: 0.0000025, max_input_tokens: 128000}
  - model_name: gpt-4o
    litellm_params: {model: azure/my-gpt, api_base: "https://x.example.com", api_key: sk-secret, api_version: "2024-02"}
  - model_name: my embedder
    litellm_params: {model: hosted_vllm/bge, api_base: "http://127.0.0.1:8000/v1"}
    model_info: {mode: embedding}
  - {model_name: dall-e, litellm_params: {model: dall-e-3}, model_info: {mode: image_generation}}
  - {model_name: "anthropic/*", litellm_params: {model: "anthropic/*"}}
router_settings: {routing_strategy: least-busy}
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(LITELLM)
    return path


def test_models_become_experts(path):
    text, _ = from_litellm(path)
    gpt, azure, embedder = parse_config(text, path).experts
    assert gpt.model_dump(exclude_defaults=True) == {
        "name": "gpt-4o",
        "backend": "openai",
        "base_url": "https://api.openai.com/v1",
        "model": "gpt-4o",
        "api_key_env": "OPENAI_API_KEY",
        "capabilities": frozenset({"streaming", "tools"}),
        "context": 128000,
        "price": {"input": 2.5},
        "limits": {"rpm": 600},
        "parameters": {"set": {"temperature": 0.2}},
    }
    assert (azure.name, azure.backend, azure.model) == ("gpt-4o-2", "litellm", "azure/my-gpt")
    assert (embedder.name, embedder.kind, embedder.backend) == ("my-embedder", "embedding", "openai")


def test_what_has_no_counterpart_is_told_and_no_key_is_copied(path):
    text, left_out = from_litellm(path)
    assert left_out == [
        "router_settings: has no counterpart here",
        "model_list[1].api_key: put the key into an environment variable, and its name into api_key_env",
        "model_list[1].api_version: has no counterpart here",
        "model_list[3] (dall-e): mode image_generation",
        "model_list[4] (anthropic/*): a wildcard names no model",
    ]
    assert "sk-secret" not in text


@pytest.mark.parametrize(
    "text", ["a: 1", "- 1", "", "model_list: {}", "model_list: [1]", "model_list: [{model_name: a}]", "a: ["]
)
def test_other_files_are_refused(path, text):
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"config\.yaml: "):
        from_litellm(path)


async def test_the_command_prints_yaml_and_reports_on_stderr(path, tmp_path):
    result = await switchyard("import", "litellm", "config.yaml", cwd=tmp_path)
    assert result.code == 0
    assert len(parse_config(result.out, path).experts) == 3
    assert result.err.startswith("left out: router_settings")
