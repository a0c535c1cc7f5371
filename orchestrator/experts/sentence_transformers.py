"""Any sentence-transformers model (embedding) or cross-encoder (rerank), in a process of its own.

    experts:
      - {name: bge, kind: embedding, backend: sentence-transformers, model: BAAI/bge-small-en-v1.5}
      - {name: judge, kind: rerank, backend: sentence-transformers, model: {path: models/ms-marco-MiniLM-L6-v2}}

A name is looked up on the Hugging Face hub by sentence-transformers itself. It needs torch; on the hot path of a small
encoder, the `onnx` backend is many times faster on a processor.
"""

from __future__ import annotations

from orchestrator.config import SentenceTransformersSpec
from orchestrator.experts.base import Expert, ServerCommand, Services, Site
from orchestrator.experts.sentence_transformers_server import Settings
from orchestrator.experts.served import num_threads, python_server, require, served_expert


def make(spec: SentenceTransformersSpec, services: Services) -> Expert:
    require("sentence_transformers", "the sentence-transformers backend", "torch")
    return served_expert(spec, services)


def launch(spec: SentenceTransformersSpec, site: Site) -> ServerCommand:
    model = spec.model if isinstance(spec.model, str) else str(site.weights(spec.model))
    settings = Settings(name=spec.name, kind=spec.kind, model=model, max_tokens=spec.context, threads=num_threads())
    return python_server("orchestrator.experts.sentence_transformers_server", settings, spec, site)
