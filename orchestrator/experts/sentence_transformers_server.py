"""The process of one sentence-transformers expert: its model behind the HTTP of `embedding_server.py`.

    python -m orchestrator.experts.sentence_transformers_server     # launched by the engine; see orchestrator/experts/launched.py

The encoder is the router's own (`routers/encoders/sentence_transformers.py`). No code that comes with a model is run
(`trust_remote_code` stays off). Not here: query and document prompts; a text is encoded as it comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from orchestrator.experts import launched
from orchestrator.experts.embedding_server import Pair, embedding_app, reranking_app, serve
from routers.base import FloatArray
from routers.encoders.sentence_transformers import SentenceTransformersEncoder


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """model: a path or a name on the hub. max_tokens: where texts are cut, None for the model's own limit."""

    name: str
    kind: Literal["embedding", "rerank"]
    model: str
    max_tokens: int | None
    threads: int


def main() -> None:
    import torch

    given = launched.read(Settings)
    # Left alone, torch takes more threads than are good for one text at a time.
    torch.set_num_threads(given.settings.threads)
    if given.settings.kind == "embedding":
        encoder = BiEncoder(given.settings)
        encoder.open()
        serve(embedding_app(given.settings.name, given.token, encoder), given.host, given.port)
    else:
        serve(reranking_app(given.settings.name, given.token, CrossEncoder(given.settings)), given.host, given.port)


class BiEncoder(SentenceTransformersEncoder):
    """Also says how many tokens it read of a text."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.model, max_tokens=settings.max_tokens, threads=settings.threads)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        opened = self.open()
        return _token_counts(opened.tokenizer, texts, opened.max_seq_length)


class CrossEncoder:
    """A `CrossEncoder` with one output; scores are its sigmoid."""

    def __init__(self, settings: Settings) -> None:
        import sentence_transformers
        from torch.nn import Sigmoid

        self._model = sentence_transformers.CrossEncoder(settings.model, max_length=settings.max_tokens)
        if self._model.num_labels != 1:
            raise SystemExit(f"a cross-encoder has one output per pair, this model has {self._model.num_labels}")
        self._activation = Sigmoid()

    def score(self, pairs: Sequence[Pair]) -> FloatArray:
        scores: FloatArray = self._model.predict(
            list(pairs), activation_fn=self._activation, convert_to_numpy=True, show_progress_bar=False
        )
        return scores

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return _token_counts(self._model.tokenizer, texts, self._model.max_seq_length)


def _token_counts(tokenizer: Any, texts: Sequence[str], max_tokens: int | None) -> list[int]:
    ids = tokenizer(list(texts), truncation=max_tokens is not None, max_length=max_tokens)["input_ids"]
    return [len(row) for row in ids]


if __name__ == "__main__":
    main()
