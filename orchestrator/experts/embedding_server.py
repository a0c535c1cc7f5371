"""The HTTP side of the experts that embed texts or score documents with a model in their own process.

    app = embedding_app("minilm", token, encoder)       # POST /v1/embeddings; /v1/rerank by cosine
    app = reranking_app("ms-marco", token, scorer)      # POST /v1/rerank by a cross-encoder
    serve(app, port)

`/health` answers as soon as the server listens, which is once the model is loaded. Requests are batched across connections, and a
client that leaves takes its remaining texts with it. Not here: models (`onnx_server.py`, `sentence_transformers_server.py`).
"""

from __future__ import annotations

import asyncio
import hmac
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.errors import ExpertRejected
from orchestrator.experts.batching import Batcher
from orchestrator.experts.inputs import query_and_documents, texts_to_embed
from orchestrator.experts.render import embedding_answer, rerank_answer
from orchestrator.types import Call, Kind
from routers.base import FloatArray

MAX_BATCH = 16
"""Small, so that a batch is over in half a second: what others wait, and what a cancelled request still costs."""
MAX_INPUTS = 2048
DISCONNECT_POLL_S = 0.1
SHUTDOWN_S = 5

Pair = tuple[str, str]
Answered = TypeVar("Answered")


class TextEncoder(Protocol):
    """A bi-encoder."""

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Shape `(len(texts), dimensions)`, rows of length 1."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> Sequence[int]: ...


class PairScorer(Protocol):
    """A cross-encoder."""

    def score(self, pairs: Sequence[Pair]) -> FloatArray:
        """How well each document (second) answers its query (first), 0..1."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> Sequence[int]: ...


def embedding_app(name: str, token: str, encoder: TextEncoder) -> Starlette:
    """Embeds; reranks by the cosine of query and document."""

    def encode(texts: Sequence[str]) -> list[tuple[FloatArray, int]]:
        return list(zip(encoder.encode(texts), encoder.count_tokens(texts), strict=True))

    async def compute(texts: Sequence[str]) -> list[tuple[FloatArray, int]]:
        return await asyncio.to_thread(encode, texts)

    batcher: Batcher[str, tuple[FloatArray, int]] = Batcher(compute, max_items=MAX_BATCH)

    async def embed(body: dict[str, Any]) -> bytes | None:
        texts = texts_to_embed(body, name)
        _check_count(name, texts, "input")
        rows = await batcher.run(texts)
        vectors = _truncated(np.array([vector for vector, _ in rows]), body.get("dimensions"), name)
        return embedding_answer(_call("embedding", body), name, vectors, sum(tokens for _, tokens in rows)).body

    async def rerank(body: dict[str, Any]) -> bytes | None:
        query, documents = query_and_documents(body, name)
        _check_count(name, documents, "documents")
        rows = await batcher.run([query, *documents])
        cosines = [float(rows[0][0] @ vector) for vector, _ in rows[1:]]
        return rerank_answer(_call("rerank", body), name, cosines, sum(tokens for _, tokens in rows)).body

    return _app(name, token, {"/v1/embeddings": embed, "/v1/rerank": rerank})


def reranking_app(name: str, token: str, scorer: PairScorer) -> Starlette:
    """Reranks by reading query and document together."""

    def score(pairs: Sequence[Pair]) -> list[tuple[float, int]]:
        tokens = scorer.count_tokens([text for pair in pairs for text in pair])
        return list(
            zip(scorer.score(pairs).tolist(), map(sum, zip(tokens[::2], tokens[1::2], strict=True)), strict=True)
        )

    async def compute(pairs: Sequence[Pair]) -> list[tuple[float, int]]:
        return await asyncio.to_thread(score, pairs)

    batcher: Batcher[Pair, tuple[float, int]] = Batcher(compute, max_items=MAX_BATCH)

    async def rerank(body: dict[str, Any]) -> bytes | None:
        query, documents = query_and_documents(body, name)
        _check_count(name, documents, "documents")
        rows = await batcher.run([(query, document) for document in documents])
        scores = [score for score, _ in rows]
        return rerank_answer(_call("rerank", body), name, scores, sum(tokens for _, tokens in rows)).body

    return _app(name, token, {"/v1/rerank": rerank})


def serve(app: Starlette, host: str, port: int) -> None:
    """Listen until SIGTERM; requests in flight get a few seconds to end."""
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )


Work = Callable[[dict[str, Any]], Awaitable[bytes | None]]


def _app(name: str, token: str, works: dict[str, Work]) -> Starlette:
    async def health(request: Request) -> Response:
        return Response(b'{"status":"ok"}', media_type="application/json")

    def endpoint(work: Work) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
                return _error(401, "wrong or missing token", code="invalid_api_key")
            try:
                body = await _while_connected(request, work(_object(await request.body(), name)))
            except ExpertRejected as exc:
                return _error(exc.status, exc.message, code=exc.code, param=exc.param)
            return Response(body, media_type="application/json")

        return answer

    routes = [Route(path, endpoint(work), methods=["POST"]) for path, work in works.items()]
    return Starlette(routes=[Route("/health", health), *routes])


async def _while_connected(request: Request, work: Awaitable[Answered]) -> Answered:
    """The result of the work, which is cancelled when the client leaves."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=DISCONNECT_POLL_S))[0]:
            if await request.is_disconnected():
                raise ExpertRejected("", "the client left", status=499, code=None, param=None)
    finally:
        task.cancel()
    return task.result()


def _object(data: bytes, name: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        message = "the body must be a JSON object"
        raise ExpertRejected(name, message, status=400, code="invalid_json", param=None) from exc


def _error(status: int, message: str, *, code: str | None, param: str | None = None) -> Response:
    error = {"message": message, "type": "invalid_request_error", "code": code, "param": param}
    return Response(msgspec.json.encode({"error": error}), status, media_type="application/json")


def _call(kind: Kind, body: dict[str, Any]) -> Call:
    return Call(kind, body, deadline=math.inf)


def _check_count(name: str, items: Sequence[str], param: str) -> None:
    if len(items) > MAX_INPUTS:
        message = f"{param} may hold at most {MAX_INPUTS} texts"
        raise ExpertRejected(name, message, status=400, code="invalid_value", param=param)


def _truncated(vectors: FloatArray, dimensions: Any, name: str) -> FloatArray:
    """The first `dimensions` numbers of each vector, brought back to length 1 (Matryoshka, arXiv 2205.13147)."""
    if dimensions is None:
        return vectors
    if not isinstance(dimensions, int) or isinstance(dimensions, bool) or not 1 <= dimensions <= vectors.shape[1]:
        message = f"dimensions must be a whole number from 1 to {vectors.shape[1]}"
        raise ExpertRejected(name, message, status=400, code="invalid_value", param="dimensions")
    cut = vectors[:, :dimensions]
    lengths = np.linalg.norm(cut, axis=1, keepdims=True)
    unit: FloatArray = cut / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit
