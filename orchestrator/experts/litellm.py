"""Any of litellm's providers, for what speaks no OpenAI: `anthropic/...`, `bedrock/...`, `vertex_ai/...`.

    experts:
      - {name: claude, backend: litellm, model: anthropic/claude-sonnet-4-5, api_key_env: ANTHROPIC_API_KEY}

OpenAI's parameters become litellm's; whatever else a client sends goes into `extra_body`, never into litellm's own options, where
it could send our key to an address of the client's (`api_base`). Options of litellm are the operator's: `parameters: {set: {...}}`.
litellm reports a stream that was cut off as one that ended well, so `truncated` is not seen here. Not here: legacy completions
(litellm leaks a client with each), and litellm's router, retries, fallbacks, caches and callbacks.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from orchestrator.config import LiteLLMSpec
from orchestrator.errors import ConfigError, ExpertError, MissingExtra
from orchestrator.experts.base import Expert, Services
from orchestrator.experts.envelope import read_usage
from orchestrator.experts.failures import Complaint, from_complaint, from_envelope, from_exception, retry_after_s
from orchestrator.experts.openai import read_key
from orchestrator.experts.parameters import Parameters, unsupported
from orchestrator.experts.sse import ChunkRelay
from orchestrator.types import Answer, Call, Kind, Usage

_CHAT_FIELDS = (
    "messages audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens modalities n "
    "parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_retention reasoning_effort response_format "
    "safety_identifier seed service_tier stop store stream stream_options temperature thinking tool_choice tools top_k "
    "top_logprobs top_p user verbosity web_search_options"
)
_FIELDS: dict[Kind, frozenset[str]] = {
    "chat": frozenset(_CHAT_FIELDS.split()),
    "embedding": frozenset({"input", "dimensions", "encoding_format", "user"}),
    "rerank": frozenset({"query", "documents", "top_n", "rank_fields", "return_documents", "max_chunks_per_doc"}),
}
_FUNCTIONS: dict[Kind, str] = {"chat": "acompletion", "embedding": "aembedding", "rerank": "arerank"}


def make(spec: LiteLLMSpec, services: Services) -> Expert:
    """Raises `MissingExtra` without litellm, and `ConfigError` for a missing key or a model that names no provider."""
    litellm = _load()
    key = read_key(spec.name, spec.api_key_env)
    try:
        litellm.get_llm_provider(spec.model, api_base=spec.base_url)
    except litellm.exceptions.BadRequestError as exc:
        raise ConfigError(
            f"expert '{spec.name}': model '{spec.model}' names no provider; expected provider/model"
        ) from exc
    return LiteLLM(spec, litellm, services.http, key)


def _load() -> Any:
    """The module litellm, told to stay quiet and offline. Takes seconds the first time."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        import litellm
    except ImportError as exc:
        raise MissingExtra("the litellm backend", "litellm") from exc
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    return litellm


class LiteLLM:
    """One model behind litellm."""

    def __init__(self, spec: LiteLLMSpec, litellm: Any, http: aiohttp.ClientSession, key: str) -> None:
        self._name = spec.name
        self._timeouts = spec.timeouts
        self._parameters = Parameters(spec.name, spec.parameters)
        self._operators = frozenset(spec.parameters.set)
        self._litellm = litellm
        self._secrets = (key, URL(spec.base_url or "").host or "")
        self._options = {"api_key": key or None, "api_base": spec.base_url, "shared_session": http, "max_retries": 0}
        self._model = spec.model

    async def answer(self, call: Call) -> Answer:
        arguments = self._arguments(call)
        ask = getattr(self._litellm, _FUNCTIONS[call.kind])
        timeout_s = min(self._timeouts.first_byte_s, call.deadline - time.monotonic())
        try:
            async with asyncio.timeout(timeout_s):
                response = await ask(**arguments, timeout=timeout_s)
                return await self._stream(call, response) if "stream" in arguments else self._whole(call, response)
        except ExpertError:
            raise
        except Exception as exc:  # whatever the code of one of litellm's providers runs into
            raise self._failure(exc) from exc

    def _arguments(self, call: Call) -> dict[str, Any]:
        """What litellm is called with. Raises `ExpertRejected` for what it has no way to pass on."""
        body = self._parameters.apply(call.body)
        body.pop("model", None)
        if body.pop("stream", None) is True and call.kind == "chat":
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        known = _FIELDS[call.kind] | self._operators
        extra = {name: body.pop(name) for name in [*body] if name not in known}
        if extra and call.kind == "rerank":
            raise unsupported(self._name, next(iter(extra)))
        if extra:
            body["extra_body"] = {**extra, **body.get("extra_body", {})}
        return {**self._options, "model": self._model, **body}

    def _whole(self, call: Call, response: Any) -> Answer:
        body = {**response.model_dump(exclude_none=True), "model": self._name}
        for choice in body.get("choices", ()):
            choice.setdefault("logprobs", None)
            choice["message"].setdefault("content", None)
        if call.kind == "rerank":
            body["usage"] = {"total_tokens": (body.get("meta") or {}).get("billed_units", {}).get("total_tokens", 0)}
        usage = Usage()
        read_usage(msgspec.Raw(msgspec.json.encode(body.get("usage"))), usage)
        return Answer(body=msgspec.json.encode(body), usage=usage)

    async def _stream(self, call: Call, stream: Any) -> Answer:
        usage = Usage()
        options = call.body.get("stream_options")
        asked = isinstance(options, dict) and options.get("include_usage") is True
        translate = partial(from_envelope, self._name, secrets=self._secrets)
        relay = ChunkRelay(self._name, usage, hide_usage=not asked, translate=translate)
        events = self._events(call, stream, relay)
        await anext(events)
        return Answer(events=events, usage=usage)

    async def _events(self, call: Call, stream: Any, relay: ChunkRelay) -> AsyncGenerator[bytes, None]:
        async def read() -> bytes:
            async with asyncio.timeout(min(self._timeouts.idle_s, call.deadline - time.monotonic())):
                chunk = await anext(stream, None)
            if chunk is None:
                return b""
            payload = chunk.model_dump(exclude_none=True)
            if not relay.has_content and _only_ends(payload):
                raise ExpertError(self._name, "malformed", f"{self._name} ended its answer before it began")
            return _event(payload)

        try:
            async with aclosing(relay.blocks(read)) as blocks:
                async for block in blocks:
                    yield block
        except ExpertError:
            raise
        except Exception as exc:  # whatever the code of one of litellm's providers runs into
            raise self._failure(exc) from exc
        finally:
            await stream.aclose()

    def _failure(self, exc: Exception) -> ExpertError:
        """litellm's exceptions are openai's, with a status; the mid-stream one wraps another."""
        exc = getattr(exc, "original_exception", None) or exc
        if isinstance(exc, TimeoutError | self._litellm.exceptions.Timeout):
            return from_exception(self._name, TimeoutError())
        if isinstance(exc, self._litellm.exceptions.APIConnectionError):
            return ExpertError(self._name, "reset", f"{self._name} broke the connection")
        too_long = isinstance(exc, self._litellm.exceptions.ContextWindowExceededError)
        message = str(getattr(exc, "message", "")).rpartition("Exception - ")[2]
        complaint = Complaint(message, code="context_length_exceeded" if too_long else "")
        headers: Mapping[str, str] = getattr(exc, "litellm_response_headers", None) or {}
        status = getattr(exc, "status_code", None) or 500
        return from_complaint(self._name, status, complaint, retry_after=retry_after_s(headers), secrets=self._secrets)


def _says(choice: dict[str, Any]) -> bool:
    """Whether there is more in a choice than a role."""
    return any(value for name, value in choice.get("delta", {}).items() if name != "role")


def _only_ends(chunk: dict[str, Any]) -> bool:
    """A finish reason after nothing: litellm makes one up when the upstream sent no stream at all."""
    choices = chunk.get("choices", [])
    return any(choice.get("finish_reason") for choice in choices) and not any(map(_says, choices))


def _event(chunk: dict[str, Any]) -> bytes:
    """One of litellm's chunks as OpenAI's event. There, a chunk that only brings the usage has no choices."""
    choices = chunk.get("choices", [])
    for choice in choices:
        choice.setdefault("finish_reason", None)
    usage = chunk.get("usage")
    if usage is not None and not usage.get("total_tokens"):
        del chunk["usage"]
    elif usage is not None and not any(_says(choice) or choice["finish_reason"] for choice in choices):
        chunk["choices"] = []
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"
