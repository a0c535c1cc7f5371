import asyncio
import base64
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette

from orchestrator.experts.echo import embed
from orchestrator.experts.embedding_server import embedding_app, reranking_app
from orchestrator.experts.onnx_server import CrossEncoder, Settings
from routers.base import FloatArray
from tests.support.tiny_onnx import write_cross_encoder, write_tokenizer

TOKEN = "secret"


class Hashed:
    """Echo's vectors; a token is a word. Waits for `go` when `held`."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[str]] = []
        self.started = threading.Event()
        self.go = threading.Event()
        if not held:
            self.go.set()

    def encode(self, texts: Sequence[str]) -> FloatArray:
        self.batches.append(list(texts))
        self.started.set()
        self.go.wait(10)
        return embed(texts)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


def client(app: Starlette, token: str = TOKEN) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server", headers=headers)


async def post(path: str, body: Any, app: Starlette | None = None, status: int = 200) -> Any:
    async with client(app or embedding_app("hashed", TOKEN, Hashed())) as http:
        response = await http.post(path, json=body)
    assert response.status_code == status, response.text
    return response.json()


async def test_health_is_open_and_the_rest_is_not() -> None:
    app = embedding_app("hashed", TOKEN, Hashed())
    async with client(app, token="wrong") as http:
        assert (await http.get("/health")).status_code == 200
        assert (await http.post("/v1/embeddings", json={"input": "hi"})).status_code == 401
        assert (await http.post("/v1/rerank", json={})).status_code == 401


async def test_embeds_a_text_or_a_list_and_counts_tokens() -> None:
    one = await post("/v1/embeddings", {"input": "one two"})
    assert one["data"] == [{"object": "embedding", "index": 0, "embedding": embed(["one two"])[0].tolist()}]
    assert one["usage"] == {"prompt_tokens": 2, "total_tokens": 2}
    two = await post("/v1/embeddings", {"input": ["one two", "three"]})
    assert [item["index"] for item in two["data"]] == [0, 1]
    assert two["usage"]["prompt_tokens"] == 3


async def test_base64_holds_the_same_numbers() -> None:
    body = await post("/v1/embeddings", {"input": "one two", "encoding_format": "base64"})
    assert np.array_equal(np.frombuffer(base64.b64decode(body["data"][0]["embedding"]), "<f4"), embed(["one two"])[0])


async def test_dimensions_cut_and_renormalise() -> None:
    body = await post("/v1/embeddings", {"input": "one two three four five six", "dimensions": 16})
    cut = embed(["one two three four five six"])[0, :16]
    assert np.allclose(body["data"][0]["embedding"], cut / np.linalg.norm(cut))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": [1, 2, 3]}, "input"),
        ({"input": [[1, 2, 3]]}, "input"),
        ({"input": ["x"] * 2049}, "input"),
        ({"input": "x", "dimensions": 0}, "dimensions"),
        ({"input": "x", "dimensions": 65}, "dimensions"),
        ({"input": "x", "dimensions": True}, "dimensions"),
        ([], None),
    ],
)
async def test_what_it_cannot_embed_is_refused_with_the_field(body: Any, param: str | None) -> None:
    error = (await post("/v1/embeddings", body, status=400))["error"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"


async def test_a_body_that_is_no_json_is_refused() -> None:
    async with client(embedding_app("hashed", TOKEN, Hashed())) as http:
        for content in (b"{", b"\xff", b"[" * 100_000):
            assert (await http.post("/v1/embeddings", content=content)).status_code == 400


async def test_an_encoder_reranks_by_cosine() -> None:
    asked = {"query": "red apple", "documents": ["blue sky", {"text": "red apple"}, "apple"], "return_documents": True}
    body = await post("/v1/rerank", asked)
    assert [result["index"] for result in body["results"]] == [1, 2, 0]
    assert body["results"][0] == {
        "index": 1,
        "relevance_score": pytest.approx(1.0),
        "document": {"text": "red apple"},
    }
    assert body["usage"]["total_tokens"] == 7


async def test_concurrent_requests_share_batches() -> None:
    model = Hashed(held=True)
    app = embedding_app("hashed", TOKEN, model)
    asked = [asyncio.create_task(post("/v1/embeddings", {"input": f"text {i}"}, app)) for i in range(9)]
    await asyncio.to_thread(model.started.wait, 10)
    model.go.set()
    bodies = await asyncio.gather(*asked)
    assert [body["data"][0]["embedding"] for body in bodies] == embed([f"text {i}" for i in range(9)]).tolist()
    assert len(model.batches) < 9


async def test_a_client_that_leaves_takes_its_remaining_texts_with_it() -> None:
    """Straight through ASGI: httpx can't leave while it waits."""
    model = Hashed(held=True)
    app = embedding_app("hashed", TOKEN, model)
    messages = [{"type": "http.request", "body": b'{"input": [' + b'"x",' * 99 + b'"x"]}'}, {"type": "http.disconnect"}]
    scope = {"type": "http", "method": "POST", "path": "/v1/embeddings", "query_string": b"", "headers": []}
    scope["headers"] = [(b"authorization", b"Bearer secret")]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    model.go.set()
    assert sent[0]["status"] == 499
    await post("/v1/embeddings", {"input": "next"}, app)
    assert [len(batch) for batch in model.batches] == [16, 1]


async def test_a_cross_encoder_reads_query_and_document_together(tmp_path: Path) -> None:
    """The tiny model's logit is the number of tokens in the document, its separator included."""
    settings = Settings(
        name="tiny",
        kind="rerank",
        model=str(write_cross_encoder(tmp_path / "model.onnx")),
        tokenizer=str(write_tokenizer(tmp_path / "tokenizer.json")),
        pooling="mean",
        max_tokens=8,
        threads=1,
    )
    app = reranking_app("tiny", TOKEN, CrossEncoder(settings))
    documents = ["one", "one two three", "one two"]
    body = await post("/v1/rerank", {"query": "a question", "documents": documents}, app)
    scores = {result["index"]: result["relevance_score"] for result in body["results"]}
    assert scores == {i: pytest.approx(1 / (1 + math.exp(-n))) for i, n in enumerate((2, 4, 3))}
    assert [result["index"] for result in body["results"]] == [1, 2, 0]
    assert (await post("/v1/rerank", {"query": "a", "documents": [1]}, app, status=400))["error"][
        "param"
    ] == "documents"
