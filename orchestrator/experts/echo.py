"""The shipped fake: says back what it was told. For tests, examples, load, and a fleet that needs no weights.

    experts:
      - {name: echo, backend: echo, latency_s: 0.1}

Chat and completion repeat the last user turn or the prompt; embeddings hash words into a small unit vector, so equal texts get
equal vectors; rerank scores a document by the share of the query's words it contains. None of this is understanding.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from orchestrator.config import EchoSpec
from orchestrator.experts.base import Expert, Services
from orchestrator.experts.inprocess import InProcessExpert
from orchestrator.experts.inputs import query_and_documents, question_of, texts_to_embed
from orchestrator.experts.render import count_words, embedding_answer, rerank_answer, text_answer
from orchestrator.types import Answer, Call

DIMENSIONS = 64


def make(spec: EchoSpec, services: Services) -> Expert:
    return InProcessExpert(spec, Echo(spec.name, spec.latency_s).respond)


class Echo:
    """Waits `latency_s`, then says it back."""

    def __init__(self, name: str, latency_s: float) -> None:
        self._name = name
        self._latency_s = latency_s

    async def respond(self, call: Call) -> Answer:
        await asyncio.sleep(self._latency_s)
        if call.kind == "embedding":
            texts = texts_to_embed(call.body, self._name)
            return embedding_answer(call, self._name, embed(texts), sum(map(count_words, texts)))
        if call.kind == "rerank":
            query, documents = query_and_documents(call.body, self._name)
            scores = [overlap(query, document) for document in documents]
            return rerank_answer(call, self._name, scores, sum(map(count_words, [query, *documents])))
        return text_answer(call, self._name, question_of(call, self._name))


def embed(texts: Iterable[str]) -> NDArray[np.float32]:
    """Rows of length 1, shape `(number of texts, DIMENSIONS)`: each word adds one to the column it hashes to."""
    columns = [[crc32(word.encode()) % DIMENSIONS for word in _words(text)] or [0] for text in texts]
    counts = np.array([np.bincount(row, minlength=DIMENSIONS) for row in columns], dtype=np.float32)
    unit: NDArray[np.float32] = counts / np.linalg.norm(counts, axis=1, keepdims=True)
    return unit


def overlap(query: str, document: str) -> float:
    """The share of the query's words that the document contains, 0..1."""
    words = set(_words(query))
    return len(words & set(_words(document))) / max(1, len(words))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
