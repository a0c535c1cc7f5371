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

Its servers don't sleep here. llama.cpp can give a model up by itself (`sleep_idle_seconds`), but not when it is told to, and a
request that comes at that moment is lost. What its processes read stays in the system's file cache instead, as long as there is
room, and is brought back there ahead of a load.

One parameter is ours: `forced_answer`, a text. The answer is that text, token by token as the model writes it, or its beginning
where `max_tokens` ends it; with `logprobs` this is how likely the model holds it. llama.cpp knows no `echo` that would tell.
"""

from __future__ import annotations

from typing import Any

import aiohttp
from msgspec.structs import replace

from orchestrator.config import LlamaCppSpec
from orchestrator.errors import ExpertError
from orchestrator.experts.base import Expert, ServerCommand, Services, Site
from orchestrator.experts.folding import fold
from orchestrator.experts.inputs import rejected
from orchestrator.experts.llamacpp_server import Settings
from orchestrator.experts.llamacpp_tokens import TokenModel
from orchestrator.experts.served import ServedExpert, num_threads, python_server, require, served_expert
from orchestrator.types import Answer, Call


def make(spec: LlamaCppSpec, services: Services) -> Expert:
    require("xllamacpp", "the llamacpp backend", "local")
    return LlamaCpp(spec.name, served_expert(spec, services), services.http)


def launch(spec: LlamaCppSpec, site: Site) -> ServerCommand:
    assert spec.limits.concurrency is not None
    settings = Settings(
        name=spec.name,
        kind=spec.kind,
        model=str(site.weights(spec.model)),
        context=spec.context,
        concurrency=spec.limits.concurrency,
        threads=num_threads(),
        options=spec.options,
    )
    return python_server("orchestrator.experts.llamacpp_server", settings, spec, site)


class LlamaCpp:
    """A served expert whose whole answers are folded streams."""

    def __init__(self, name: str, served: ServedExpert, http: aiohttp.ClientSession) -> None:
        self._name = name
        self._served = served
        self._http = http

    async def answer(self, call: Call) -> Answer:
        if (forced := call.body.get("forced_answer")) is not None:
            call = replace(call, body=await self._forcing(call, forced))
        if call.stream or call.kind in ("embedding", "rerank"):
            return await self._served.answer(call)
        body = {**call.body, "stream": True, "stream_options": {"include_usage": True}}
        prompt = call.body.get("prompt")
        streamed = await self._served.answer(replace(call, body=body))
        return await fold(streamed, num_prompts=len(prompt) if isinstance(prompt, list) else 1)

    async def _forcing(self, call: Call, forced: Any) -> dict[str, Any]:
        """The body with a grammar of the text's own tokens: one of its characters would let others spell it."""
        if not isinstance(forced, str) or not forced or call.kind not in ("chat", "completion"):
            raise rejected(self._name, "forced_answer must be a text, for a chat or a completion", "forced_answer")
        body = {key: value for key, value in call.body.items() if key not in ("forced_answer", "max_completion_tokens")}
        asked = call.body.get("max_completion_tokens") or call.body.get("max_tokens")
        tokens = (await self._tokens(call, forced))[:asked]
        grammar = "root ::= " + " ".join(f"<[{token}]>" for token in tokens)
        return {**body, "grammar": grammar, "max_tokens": len(tokens), "temperature": 0}

    async def _tokens(self, call: Call, text: str) -> list[int]:
        if call.endpoint is None:
            raise ExpertError(self._name, "not_loaded", f"{self._name} is not in memory")
        return await TokenModel(self._name, call.endpoint, self._http, call.deadline).tokens(text)
