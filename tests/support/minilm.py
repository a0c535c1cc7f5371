"""The shipped sentence encoder, for tests that want real vectors: skipped where its weights have not been pulled."""

from functools import cache
from pathlib import Path

import pytest

from orchestrator.errors import ConfigError
from orchestrator.fleet.configfile import load_config
from orchestrator.fleet.weights import weights_path
from routers.encoders import OnnxEncoder

SHIPPED = Path(__file__).parents[2] / "experts.yaml"


@cache
def minilm(**settings) -> OnnxEncoder:
    """MiniLM as `experts.yaml` names it, opened once per settings. Skips the test when its files or onnxruntime are missing."""
    pytest.importorskip("onnxruntime")
    spec = load_config(SHIPPED).by_name["minilm"]
    try:
        return OnnxEncoder(weights_path(spec.model), weights_path(spec.tokenizer), **settings)
    except ConfigError:
        pytest.skip("MiniLM's weights are not here: run `switchyard pull minilm`")
