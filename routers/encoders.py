"""Texts to unit vectors, on the request path: a sentence encoder as ONNX, and a hashed one that needs no model.

    encoder = OnnxEncoder(Path("model.onnx"), Path("tokenizer.json"), threads=1)
    encoder.encode(["What is 2 + 2?"])          # array of shape (1, 384), float32, of length 1

Both are `routers.base.Encoder`. Nothing is opened before the first `encode` (or `open()`). Not here: batching across requests
(`orchestrator/routing/scoring.py`), serving embeddings to clients (`orchestrator/experts/onnx.py`), and encoders by torch.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from kernels.ngrams import ngrams
from kernels.pooling import mean_pool
from routers.base import FloatArray

CHARACTERS_PER_TOKEN = 16
"""Texts are cut at this many characters per token before they are tokenised: far above what any language needs."""
MAX_BATCH = 8
"""Of similar length: 2.8 ms a query where 32 at once took 4.5 ms, padding to the longest (MiniLM, one thread, 32 queries)."""


class OnnxEncoder:
    """A BERT-like text encoder (inputs `input_ids`, `attention_mask`, perhaps `token_type_ids`; output: token vectors).

    Texts beyond `max_tokens` are cut. `threads`: of one `encode`; with 1, calls from several threads run side by side.
    """

    def __init__(
        self,
        model: Path,
        tokenizer: Path,
        *,
        pooling: Literal["mean", "cls"] = "mean",
        max_tokens: int = 128,
        threads: int = 1,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.max_tokens = max_tokens
        self.threads = threads
        self._lock = threading.Lock()
        self._opened: _Opened | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Of both files' contents and the settings that change vectors; reads the files once."""
        digest = hashlib.sha256(f"{self.pooling} {self.max_tokens}".encode())
        for path in (self.model, self.tokenizer):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return f"onnx-{digest.hexdigest()[:16]}"

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return self.open().dimensions

    def open(self) -> _Opened:
        """Load model and tokenizer, once. Raises ValueError for a file that can't be read.

        Raises ImportError, naming the extra, when onnxruntime or tokenizers is missing.
        """
        with self._lock:
            if self._opened is None:
                self._opened = _open(self.model, self.tokenizer, self.max_tokens, self.threads)
            return self._opened

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Shape `(len(texts), dimensions)`, rows of length 1. Thread-safe."""
        opened = self.open()
        tokens = [opened.tokens(text, self.max_tokens) for text in texts]
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        vectors = np.empty((len(tokens), opened.dimensions), dtype=np.float32)
        for start in range(0, len(order), MAX_BATCH):
            batch = order[start : start + MAX_BATCH]
            vectors[batch] = self._forward(opened, [tokens[i] for i in batch])
        return vectors

    def _forward(self, opened: _Opened, batch: list[list[int]]) -> FloatArray:
        ids = np.zeros((len(batch), max(map(len, batch))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        hidden = opened.forward(ids, mask)
        # CLS pooling is mean pooling over the first token.
        return mean_pool(hidden, mask) if self.pooling == "mean" else mean_pool(hidden[:, :1], mask[:, :1])


@dataclass(frozen=True, slots=True)
class _Opened:
    """The session and tokenizer once they are in memory. Both libraries allow calls from several threads."""

    session: Any
    tokenizer: Any
    inputs: frozenset[str]
    dimensions: int

    def tokens(self, text: str, max_tokens: int) -> list[int]:
        cut = text[: max_tokens * CHARACTERS_PER_TOKEN]
        # A lone surrogate is legal in JSON and in a str, but is no text that a tokenizer takes.
        ids: list[int] = self.tokenizer.encode(cut.encode("utf-8", "replace").decode()).ids
        return ids

    def forward(self, ids: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]) -> FloatArray:
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden: FloatArray = self.session.run(None, {name: feeds[name] for name in self.inputs})[0]
        return hidden


def _open(model: Path, tokenizer_file: Path, max_tokens: int, threads: int) -> _Opened:
    try:
        import onnxruntime
        from tokenizers import Tokenizer
    except ImportError as exc:
        raise ImportError("an ONNX encoder needs optional dependencies: pip install 'switchyard-llm[local]'") from exc
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads that spin would take the processor from the gateway's event loop.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = _read(model, lambda path: onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]))
    tokenizer = _read(tokenizer_file, Tokenizer.from_file)
    tokenizer.enable_truncation(max_tokens)
    tokenizer.no_padding()
    return _Opened(
        session,
        tokenizer,
        frozenset(entry.name for entry in session.get_inputs()),
        int(session.get_outputs()[0].shape[-1]),
    )


def _read(path: Path, reader: Callable[[str], Any]) -> Any:
    try:
        return reader(os.fspath(path))
    except Exception as exc:  # both libraries raise bare exceptions: InvalidProtobuf and its like, and Exception itself
        raise ValueError(f"the encoder's file {path} can't be read ({exc})") from exc


class HashedEncoder:
    """Character n-grams and words, hashed (`kernels.ngrams`): knows spelling and no meaning, costs microseconds."""

    def __init__(self, dimensions: int = 4096, *, max_characters: int = 4096) -> None:
        self.dimensions = dimensions
        self.max_characters = max_characters

    @property
    def fingerprint(self) -> str:
        return f"hashed-{self.dimensions}-{self.max_characters}"

    @classmethod
    def of(cls, fingerprint: str) -> Self | None:
        """The encoder with this fingerprint, or None when it is another kind's."""
        found = re.fullmatch(r"hashed-(\d+)-(\d+)", fingerprint)
        return None if found is None else cls(int(found[1]), max_characters=int(found[2]))

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Shape `(len(texts), dimensions)`, rows of length 1 (0 for a text without a character). Thread-safe."""
        return ngrams([text[: self.max_characters] for text in texts], self.dimensions)
