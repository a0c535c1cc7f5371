"""Any OpenAI-compatible `/embeddings` endpoint as an encoder.

    encoder = EndpointEncoder("https://api.example.com/v1", "text-embedding-3-small", api_key_env="EXAMPLE_API_KEY")
    encoder.encode(["What is 17 * 23?"])          # (1, 1536) float32, rows of length 1

Texts go in batches, a few at once; anything but the vectors that were asked for is an error, and nothing is tried again: for
training, wrap it in `routers.encoders.cache.CachedEncoder`, which keeps what came. Each `encode` opens connections of its own,
because encoders run in threads.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import aiohttp
import msgspec
import numpy as np

from routers.base import FloatArray

MAX_BATCH = 64
CONNECTIONS = 4


class _Item(msgspec.Struct):
    index: int
    embedding: list[float]


class _Embeddings(msgspec.Struct):
    data: list[_Item]


class EndpointEncoder:
    """url: up to `/v1`. api_key_env: the name of the variable that holds the key. max_characters: where texts are cut.

    size: how long the vectors shall be, for models that can choose (`dimensions` in the request).
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key_env: str | None = None,
        headers: Mapping[str, str] | None = None,
        size: int | None = None,
        max_characters: int = 4096,
        timeout_s: float = 60.0,
    ) -> None:
        self.url = url.rstrip("/")
        self.model = model
        self.api_key_env = api_key_env
        self.headers = dict(headers or {})
        self.size = size
        self.max_characters = max_characters
        self.timeout_s = timeout_s

    @property
    def fingerprint(self) -> str:
        """Of URL, model and size: what the endpoint makes of them is its affair."""
        name = f"{self.url} {self.model} {self.size} {self.max_characters}"
        return f"endpoint-{hashlib.sha256(name.encode()).hexdigest()[:16]}"

    @cached_property
    def dimensions(self) -> int:
        """Length of a vector; asks the endpoint unless `size` was given."""
        return self.size or int(self.encode(["?"]).shape[1])

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Shape `(len(texts), dimensions)`, rows of length 1. Thread-safe; not for a thread that runs an event loop.

        Raises ConnectionError when the endpoint can't be asked or does not answer with vectors, ValueError without a key.
        """
        if not texts:
            return np.empty((0, self.dimensions), dtype=np.float32)
        # Some endpoints refuse an empty text, and all of them a lone surrogate.
        cut = [text[: self.max_characters].encode("utf-8", "replace").decode() or " " for text in texts]
        vectors = np.array(asyncio.run(self._embed(cut)), dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: FloatArray = (vectors / np.where(lengths == 0.0, 1.0, lengths)).astype(np.float32)
        return unit

    async def _embed(self, texts: list[str]) -> list[list[float]]:
        batches = [texts[start : start + MAX_BATCH] for start in range(0, len(texts), MAX_BATCH)]
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.timeout_s, sock_read=self.timeout_s)
        connector = aiohttp.TCPConnector(limit=CONNECTIONS)
        async with aiohttp.ClientSession(headers=self._headers(), timeout=timeout, connector=connector) as http:
            answers = await asyncio.gather(*(self._post(http, batch) for batch in batches))
        return [vector for answer in answers for vector in answer]

    def _headers(self) -> dict[str, str]:
        if self.api_key_env is None:
            return self.headers
        if not (key := os.environ.get(self.api_key_env)):
            raise ValueError(f"the embedding endpoint {self.url} needs a key in ${self.api_key_env}, which is not set")
        return {**self.headers, "Authorization": f"Bearer {key}"}

    async def _post(self, http: aiohttp.ClientSession, batch: list[str]) -> list[list[float]]:
        body: dict[str, Any] = {"model": self.model, "input": batch, "encoding_format": "float"}
        if self.size is not None:
            body["dimensions"] = self.size
        try:
            async with http.post(f"{self.url}/embeddings", json=body) as response:
                payload = await response.read()
                if response.status != 200:
                    raise ConnectionError(
                        f"{self.url} answered {response.status}: {payload[:200].decode(errors='replace')}"
                    )
                found = msgspec.json.decode(payload, type=_Embeddings).data
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise ConnectionError(
                f"the embedding endpoint {self.url} can't be asked: {exc or type(exc).__name__}"
            ) from exc
        except msgspec.DecodeError as exc:
            raise ConnectionError(f"{self.url} answered with no embeddings: {exc}") from exc
        return _in_order(found, len(batch), self.url)


def _in_order(items: list[_Item], count: int, url: str) -> list[list[float]]:
    """The vectors in the order of their texts, all there and of one length."""
    by_index = {item.index: item.embedding for item in items}
    lengths = {len(vector) for vector in by_index.values()}
    if by_index.keys() != set(range(count)) or len(lengths) != 1 or lengths == {0}:
        raise ConnectionError(
            f"{url} answered with {len(items)} vectors of {len(lengths)} lengths, expected {count} of one"
        )
    return [by_index[index] for index in range(count)]
