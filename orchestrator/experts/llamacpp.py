"""GGUF models by llama.cpp, each in a process of its own that speaks OpenAI's HTTP (`llamacpp_server.py`).

    experts:
      - name: smollm2
        backend: llamacpp
        model: {path: models/SmolLM2-135M-Instruct.Q4_1.gguf}
        context: 2048                             # every one of `limits.concurrency` requests at once has all of it
        options: {flash_attn_type: LLAMA_FLASH_ATTN_TYPE_ENABLED}

llama.cpp notices that a client left when it writes to it, or when nothing else goes on in the server for a second. So it is always
asked for a stream, which is folded into a body for clients that want none. Its streams have no logprobs for the tokens that only
begin a character (an emoji of four tokens has one entry). `n` is limited by `limits.concurrency`.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.config import LlamaCppSpec
from orchestrator.experts.base import Expert, ServerCommand, Services
from orchestrator.experts.folding import fold
from orchestrator.experts.llamacpp_server import Settings
from orchestrator.experts.served import ServedExpert, num_threads, python_server, require, served_expert
from orchestrator.types import Answer, Call


def make(spec: LlamaCppSpec, services: Services) -> Expert:
    require("xllamacpp", "the llamacpp backend", "local")
    return LlamaCpp(served_expert(spec, services))


def launch(spec: LlamaCppSpec, services: Services) -> ServerCommand:
    assert spec.limits.concurrency is not None
    settings = Settings(
        name=spec.name,
        kind=spec.kind,
        model=str(services.weights(spec.model)),
        context=spec.context,
        concurrency=spec.limits.concurrency,
        threads=num_threads(),
        options=spec.options,
    )
    return python_server("orchestrator.experts.llamacpp_server", settings, spec, services)


class LlamaCpp:
    """A served expert whose whole answers are folded streams."""

    def __init__(self, served: ServedExpert) -> None:
        self._served = served

    async def answer(self, call: Call) -> Answer:
        if call.stream or call.kind in ("embedding", "rerank"):
            return await self._served.answer(call)
        body = {**call.body, "stream": True, "stream_options": {"include_usage": True}}
        prompt = call.body.get("prompt")
        streamed = await self._served.answer(replace(call, body=body))
        return await fold(streamed, num_prompts=len(prompt) if isinstance(prompt, list) else 1)
