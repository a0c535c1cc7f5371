"""Text encoders and cross-encoders as ONNX, each in a process of its own (`onnx_server.py`).

experts:
  - name: minilm
    kind: embedding                           # or rerank, for a cross-encoder
    backend: onnx
    model: {path: models/model.onnx}
    tokenizer: {path: models/tokenizer.json}
    pooling: mean
    max_tokens: 256                           # longer texts are cut
"""

from __future__ import annotations

from orchestrator.config import OnnxSpec
from orchestrator.experts.base import Expert, ServerCommand, Services, Site
from orchestrator.experts.onnx_server import Settings
from orchestrator.experts.served import num_threads, python_server, require, served_expert


def make(spec: OnnxSpec, services: Services) -> Expert:
    for module in ("onnxruntime", "tokenizers"):
        require(module, "the onnx backend", "local")
    return served_expert(spec, services)


def launch(spec: OnnxSpec, site: Site) -> ServerCommand:
    settings = Settings(
        name=spec.name,
        kind=spec.kind,
        model=str(site.weights(spec.model)),
        tokenizer=str(site.weights(spec.tokenizer)),
        pooling=spec.pooling,
        max_tokens=spec.max_tokens,
        threads=num_threads(),
    )
    return python_server("orchestrator.experts.onnx_server", settings, spec, site)
