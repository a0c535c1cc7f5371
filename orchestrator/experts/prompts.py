"""A mixture of prompts over another expert: each query gets the instruction of its region, and demonstrations that are like it.

    experts:
      - {name: extractor, backend: prompts, base: smollm2, artifact: prompts/extraction, demonstrations: 4}

The query that is compared is the last user turn. Instruction and demonstrations stand before the whole conversation, as many as
`prompt_tokens` and the base's context leave room for beside the request and its answer. Texts are read in a thread. Built by
`switchyard prompts build`; what is put where is in `orchestrator/mixtures/mixture.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from orchestrator.config import INSTRUCTION_TOKENS, PromptsSpec
from orchestrator.errors import ConfigError, ExpertError
from orchestrator.experts.base import Expert, Services
from orchestrator.experts.inputs import last_user_text
from orchestrator.experts.parameters import Parameters
from orchestrator.experts.prompted import ask_base
from orchestrator.experts.threads import DaemonThreads
from orchestrator.mixtures.artifact import Loaded, load_mixture
from orchestrator.tokens import DEFAULT_MAX_TOKENS, estimate_message
from orchestrator.types import Answer, Call
from routers.base import FloatArray


def make(spec: PromptsSpec, services: Services) -> Expert:
    """Reads the artifact and tries its encoder. Raises `ConfigError` when it can't be used here."""
    try:
        loaded = load_mixture(services.base_dir / spec.artifact, services.encoders)
    except (ValueError, OSError, ImportError) as exc:
        raise ConfigError(f"experts.{spec.name}: {exc}") from exc
    return MixtureOfPrompts(spec, services.expert, loaded)


class MixtureOfPrompts:
    """expert: finds the base."""

    def __init__(self, spec: PromptsSpec, expert: Callable[[str], Expert], loaded: Loaded) -> None:
        self._spec = spec
        self._expert = expert
        self._loaded = loaded
        self._parameters = Parameters(spec.name, spec.parameters)
        self._threads = DaemonThreads(1, spec.name)

    async def answer(self, call: Call) -> Answer:
        body = self._parameters.apply(call.body)
        vector = await self._vector(call)
        prompt = self._loaded.mixture.prompt_for(
            vector, count=self._spec.demonstrations, room_tokens=room_tokens(self._spec, call)
        )
        body["messages"] = prompt.before(body["messages"])
        return await ask_base(self._spec, self._expert, replace(call, body=body))

    async def _vector(self, call: Call) -> FloatArray:
        """The query's, `(dimensions,)`."""
        name, texts = self._spec.name, [last_user_text(call.body)]
        try:
            async with asyncio.timeout(call.remaining_s):
                vectors: FloatArray = await self._threads.run(self._loaded.encoder.encode, texts)
        except TimeoutError as exc:
            raise ExpertError(name, "timeout", f"{name} had not read the query before the deadline") from exc
        except (ValueError, OSError) as exc:
            raise ExpertError(name, "server_error", f"{name} can't read the query ({type(exc).__name__})") from exc
        vector: FloatArray = vectors[0]
        return vector


def room_tokens(spec: PromptsSpec, call: Call) -> int:
    """What instruction and demonstrations may take together."""
    if spec.context is None:
        return spec.prompt_tokens
    asked = call.body.get("max_completion_tokens") or call.body.get("max_tokens") or DEFAULT_MAX_TOKENS
    left = spec.context - sum(map(estimate_message, call.body["messages"])) - int(asked)
    return min(spec.prompt_tokens, left + INSTRUCTION_TOKENS)
