"""Vectors from any OpenAI-compatible endpoint."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from routers.encoders.endpoint import MAX_BATCH, EndpointEncoder


def embeddings(texts):
    """Vectors that say how long their texts are, out of order as the API allows."""
    items = [{"index": i, "embedding": [3.0, 4.0 * len(text), 0.0]} for i, text in enumerate(texts)]
    return {"object": "list", "data": items[::-1], "model": "m"}


@contextmanager
def endpoint(answer=embeddings, status=200):
    """Yields its URL and the requests it got: `(headers, body)`."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append((self.path, dict(self.headers), body))
            payload = json.dumps(answer(body["input"])).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", requests
        finally:
            server.shutdown()


def test_vectors_come_in_the_order_of_the_texts_with_length_one():
    with endpoint() as (url, requests):
        vectors = EndpointEncoder(url, "m").encode(["a", "", "abc"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors[0], [0.6, 0.8, 0.0], atol=1e-6)
    assert vectors[2][1] > vectors[0][1]
    assert requests[0][0] == "/v1/embeddings"
    assert requests[0][2] == {"model": "m", "input": ["a", " ", "abc"], "encoding_format": "float"}


def test_many_texts_go_in_batches():
    texts = [f"{i}" * (i % 5 + 1) for i in range(2 * MAX_BATCH + 1)]
    with endpoint() as (url, requests):
        vectors = EndpointEncoder(url, "m").encode(texts)
    assert sorted(len(body["input"]) for _, _, body in requests) == [1, MAX_BATCH, MAX_BATCH]
    expected = np.array([[3.0, 4.0 * len(text), 0.0] for text in texts])
    np.testing.assert_allclose(vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)


def test_dimensions_are_asked_for_once_unless_they_are_given():
    with endpoint() as (url, requests):
        encoder = EndpointEncoder(url, "m")
        assert encoder.dimensions == encoder.dimensions == 3
        assert encoder.encode([]).shape == (0, 3)
        assert len(requests) == 1
        EndpointEncoder(url, "m", size=3).encode(["a"])
    assert requests[-1][2]["dimensions"] == 3


def test_key_and_headers_are_sent(monkeypatch):
    monkeypatch.setenv("EMBEDDING_KEY", "sk-secret")
    with endpoint() as (url, requests):
        EndpointEncoder(url, "m", api_key_env="EMBEDDING_KEY", headers={"X-Team": "a"}).encode(["a"])
    headers = requests[0][1]
    assert headers["Authorization"] == "Bearer sk-secret"
    assert headers["X-Team"] == "a"


def test_a_key_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("EMBEDDING_KEY", raising=False)
    with pytest.raises(ValueError, match=r"needs a key in \$EMBEDDING_KEY"):
        EndpointEncoder("http://127.0.0.1:9/v1", "m", api_key_env="EMBEDDING_KEY").encode(["a"])


@pytest.mark.parametrize(
    ("answer", "status", "expected"),
    [
        (lambda texts: {"error": {"message": "slow down"}}, 429, "answered 429.*slow down"),
        (lambda texts: {"data": "none"}, 200, "no embeddings"),
        (lambda texts: {"data": []}, 200, "0 vectors"),
        (lambda texts: {"data": [{"index": 7, "embedding": [1.0]}]}, 200, "expected 1 of one"),
        (lambda texts: {"data": [{"index": 0, "embedding": []}]}, 200, "expected 1 of one"),
    ],
    ids=["refused", "other shape", "too few", "wrong index", "empty"],
)
def test_what_is_no_vector_is_an_error_that_names_the_endpoint(answer, status, expected):
    with endpoint(answer, status) as (url, _), pytest.raises(ConnectionError, match=f"127.0.0.1.*{expected}"):
        EndpointEncoder(url, "m").encode(["a"])


def test_an_endpoint_that_is_not_there_is_named():
    with pytest.raises(ConnectionError, match=r"http://127\.0\.0\.1:9/v1 can.t be asked"):
        EndpointEncoder("http://127.0.0.1:9/v1", "m").encode(["a"])


def test_the_fingerprint_is_of_address_model_and_size():
    one = EndpointEncoder("http://a/v1/", "m")
    assert one.fingerprint == EndpointEncoder("http://a/v1", "m", api_key_env="K").fingerprint
    others = [
        EndpointEncoder("http://b/v1", "m"),
        EndpointEncoder("http://a/v1", "n"),
        EndpointEncoder("http://a/v1", "m", size=3),
    ]
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 4
