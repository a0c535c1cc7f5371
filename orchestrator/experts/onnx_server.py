"""The process of one ONNX expert: its model behind the HTTP of `embedding_server.py`.

    python -m orchestrator.experts.onnx_server          # launched by the engine; see orchestrator/experts/launched.py

The encoder is the router's own (`routers/encoders/onnx.py`). A cross-encoder takes query and document as one pair of segments and
has one output, whose sigmoid is the score (as the ms-marco models are trained).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from orchestrator.experts import launched
from orchestrator.experts.embedding_server import Pair, embedding_app, reranking_app, serve
from routers.base import FloatArray
from routers.encoders.onnx import CHARACTERS_PER_TOKEN, OnnxEncoder


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """model and tokenizer: paths. threads: of one batch."""

    name: str
    kind: Literal["embedding", "rerank"]
    model: str
    tokenizer: str
    pooling: Literal["mean", "cls"]
    max_tokens: int
    threads: int


def main() -> None:
    given = launched.read(Settings)
    # A first call loads the model, and shows whether it is one of this kind.
    if given.settings.kind == "embedding":
        encoder = CountingEncoder(given.settings)
        encoder.encode(["ready?"])
        serve(embedding_app(given.settings.name, given.token, encoder), given.host, given.port)
    else:
        scorer = CrossEncoder(given.settings)
        scorer.score([("ready?", "yes")])
        serve(reranking_app(given.settings.name, given.token, scorer), given.host, given.port)


class CountingEncoder(OnnxEncoder):
    """Also says how many tokens it read of a text."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            Path(settings.model),
            Path(settings.tokenizer),
            pooling=settings.pooling,
            max_tokens=settings.max_tokens,
            threads=settings.threads,
        )

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        opened = self.open()
        return [len(opened.tokens(text, self.max_tokens)) for text in texts]


class CrossEncoder(CountingEncoder):
    """Scores pairs; inputs as of a text encoder, output of shape `(pairs, 1)`."""

    def score(self, pairs: Sequence[Pair]) -> FloatArray:
        opened = self.open()
        num_characters = self.max_tokens * CHARACTERS_PER_TOKEN
        encodings = opened.tokenizer.encode_batch([(query, document[:num_characters]) for query, document in pairs])
        feeds = {
            "input_ids": _padded([encoding.ids for encoding in encodings]),
            "attention_mask": _padded([encoding.attention_mask for encoding in encodings]),
            "token_type_ids": _padded([encoding.type_ids for encoding in encodings]),
        }
        logits = opened.session.run(None, {name: feeds[name] for name in opened.inputs})[0]
        if logits.shape != (len(pairs), 1):
            raise SystemExit(f"a cross-encoder has one output per pair, this model's has the shape {logits.shape}")
        scores: FloatArray = 1 / (1 + np.exp(-logits[:, 0]))
        return scores


def _padded(rows: Sequence[Sequence[int]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    padded = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded


if __name__ == "__main__":
    main()
