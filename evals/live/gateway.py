"""A running gateway asked over HTTP as any client asks it, and every answer kept, so that none is paid for twice.

    async with connected("http://127.0.0.1:8700", key=None, journal=journal) as gateway:
        said = await gateway.chat("auto", "gsm8k/7", messages, max_tokens=512)
        said.expert, said.cost_usd, said.measured.ttft_s          # of the decision that the gateway has on record

Chat is streamed where all experts that may answer can stream, and asked at temperature 0. A refusal that says the question is
not for the model, as a calculator's of a poem, is an unusable answer; other failures are errors, which are not kept.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import aiohttp
import msgspec
import numpy as np

from evals.live.http import Http
from evals.live.served import Served
from evals.tasks.base import Measured, Said
from orchestrator.errors import GatewayError
from orchestrator.experts.envelope import answer_text
from orchestrator.labelling.asking import NOT_ITS_KIND
from orchestrator.labelling.journal import Entry, Journal
from orchestrator.tokens import estimate
from orchestrator.types import Decision
from routers.base import FloatArray

_GREETING = "Hello."

_Read = Callable[[dict[str, Any]], str | None]
"""What of an answer's body is kept; None where it holds nothing."""


class Model(msgspec.Struct, frozen=True):
    """What may stand in `model`. kind: an expert's, or policy, or panel. experts: of these two; None means all.

    owned_by: an expert's backend.
    """

    id: str
    kind: str
    owned_by: str = ""
    capabilities: tuple[str, ...] = ()
    context: int | None = None
    experts: tuple[str, ...] | None = None

    @property
    def is_expert(self) -> bool:
        return self.kind not in ("policy", "panel")


class _ModelList(msgspec.Struct):
    data: list[Model]


@asynccontextmanager
async def connected(url: str, *, key: str | None, journal: Journal, collection: str) -> AsyncIterator[Gateway]:
    """A gateway at `url`, which is without `/v1`. collection: in whose name policies embed.

    Raises `GatewayError` when none answers there, or the key is wrong.
    """
    headers = {"authorization": f"Bearer {key}"} if key else {}
    timeout = aiohttp.ClientTimeout(total=None)  # the gateway's own deadline ends a request
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        http = Http(session, url.rstrip("/"))
        try:
            models = msgspec.json.decode(await http.get("/v1/models"), type=_ModelList).data
        except msgspec.MsgspecError as exc:
            raise GatewayError(f"{url} is no Switchyard gateway: it lists other models than one does ({exc})") from exc
        yield Gateway(http, journal, {model.id: model for model in models}, collection)


class Gateway:
    """Satisfies `evals.tasks.base.Calls`. models: by name, in the gateway's order."""

    def __init__(self, http: Http, journal: Journal, models: Mapping[str, Model], collection: str) -> None:
        self._http = http
        self._journal = journal
        self.models = models
        self._collection = collection

    async def chat(self, model: str, purpose: str, messages: Sequence[Mapping[str, Any]], *, max_tokens: int) -> Said:
        body = {"model": model, "messages": list(messages), "max_tokens": max_tokens, "temperature": 0}
        if self._streams(self.models[model]):
            body["stream"] = True
        return await self._remembered(purpose, "chat/completions", body, _text)

    async def embed(self, model: str, purpose: str, texts: Sequence[str]) -> tuple[FloatArray, Said]:
        """A policy embeds what is for one task in one collection, so that one expert of its choice does all of it."""
        asked = self.models[model]
        inputs = [cut(text, self._context(asked)) for text in texts]
        body: dict[str, Any] = {"model": model, "input": inputs, "encoding_format": "base64"}
        if not asked.is_expert:
            body["switchyard"] = {"collection": f"{self._collection}/{model}/{purpose.partition('/')[0]}"}
        said = await self._remembered(purpose, "embeddings", body, _vectors)
        if said.text is None:
            raise GatewayError(f"{model} refused to embed {len(texts)} texts")
        floats = np.frombuffer(base64.b64decode(said.text), dtype=np.float32)
        return floats.reshape(len(texts), -1), said

    async def served(self, chosen: Sequence[str]) -> dict[str, Served]:
        """By name: all experts and panels, and the chosen policies, each asked for a decision without the call."""
        asked = [model for model in self.models.values() if model.kind != "policy" or model.id in chosen]
        return {model.id: await self._served(model) for model in asked}

    async def _served(self, model: Model) -> Served:
        experts = () if model.is_expert else tuple(self.models if model.experts is None else model.experts)
        experts = tuple(name for name in experts if name in self.models and self.models[name].is_expert)
        told = {} if model.kind != "policy" else await self._routed(model)
        return Served(model.kind, model.owned_by, model.capabilities, model.context, experts, **told)

    async def _routed(self, policy: Model) -> dict[str, str | None]:
        """Of an embedding in a collection that isn't there yet where no expert chats: only such a one is routed."""
        body: dict[str, Any] = {"model": policy.id, "messages": [{"role": "user", "content": _GREETING}]}
        if not self._candidates(policy, "chat"):
            collection = f"{self._collection}/{policy.id}/{_GREETING}"
            body = {"model": policy.id, "input": _GREETING, "switchyard": {"collection": collection}}
        reply = await self._http.post("/v1/route", body)
        if reply.error is not None:
            raise GatewayError(f"{policy.id}: {reply.error}")
        return {"router": reply.body.get("router"), "artifact": reply.body.get("artifact")}

    def _candidates(self, model: Model, kind: str) -> list[Model]:
        """The experts of a kind that may answer for a model: itself, or those of a policy or a panel."""
        if model.is_expert:
            return [model]
        named = self.models if model.experts is None else model.experts
        return [each for each in self.models.values() if each.kind == kind and each.id in named]

    def _streams(self, model: Model) -> bool:
        """An expert that can't stream would be left out of a policy's choice by asking for a stream."""
        return all("streaming" in each.capabilities for each in self._candidates(model, "chat"))

    def _context(self, model: Model) -> int | None:
        """What every expert that may answer can read."""
        contexts = [each.context for each in self._candidates(model, "embedding") if each.context is not None]
        return min(contexts, default=None)

    async def _remembered(self, purpose: str, path: str, body: dict[str, Any], read: _Read) -> Said:
        key = hashlib.sha256(msgspec.json.encode([purpose, path, body], order="sorted")).hexdigest()
        entry = self._journal.get(key)
        if entry is None:
            entry = await self._ask(path, body, read)
            self._journal.add(key, entry)
        text = None if entry.value is None else str(entry.value)
        return Said(text, entry.expert, entry.cost_usd, Measured(**entry.measured))

    async def _ask(self, path: str, body: dict[str, Any], read: _Read) -> Entry:
        reply = await self._http.post(f"/v1/{path}", body)
        if reply.error_code in NOT_ITS_KIND:
            return Entry(body["model"], None)
        if reply.error is not None:
            raise GatewayError(reply.error)
        decision = msgspec.json.decode(await self._http.get(f"/v1/decisions/{reply.decision_id}"), type=Decision)
        measured = Measured(
            reply.latency_s,
            reply.ttft_s,
            decision.overhead_ms,
            decision.wait_ms,
            decision.prompt_tokens,
            decision.completion_tokens,
            sum(attempt.purpose != "panel" for attempt in decision.attempts),
        )
        kept = {name: value for name, value in asdict(measured).items() if value is not None}
        return Entry(decision.expert or body["model"], _kept(read, reply.body), decision.cost_usd, kept)


def cut(text: str, tokens: int | None) -> str:
    """The beginning of `text` that is surely no longer than `tokens`, if that is known."""
    while tokens is not None and (length := estimate(text)) > tokens and text:
        text = text[: max(len(text) * tokens // length - 1, 0)]
    return text


def _kept(read: _Read, body: dict[str, Any]) -> str | None:
    try:
        return read(body)
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise GatewayError(f"the answer is not as OpenAI's API has it ({exc})") from exc


def _text(body: dict[str, Any]) -> str | None:
    text = answer_text(body)
    return text if isinstance(text, str) and text.strip() else None


def _vectors(body: dict[str, Any]) -> str:
    """All vectors, one after the other, as base64 of 32-bit floats."""
    rows = sorted(body["data"], key=lambda row: int(row["index"]))
    return base64.b64encode(b"".join(_floats(row["embedding"]) for row in rows)).decode()


def _floats(embedding: str | list[float]) -> bytes:
    """OpenAI's base64 is of little-endian 32-bit floats; some servers answer with numbers whatever is asked for."""
    return base64.b64decode(embedding) if isinstance(embedding, str) else np.asarray(embedding, "<f4").tobytes()
