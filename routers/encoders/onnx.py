"""MiniLM and its like as ONNX, on the processor, in a few milliseconds a text.

    encoder = OnnxEncoder(Path("model.onnx"), Path("tokenizer.json"))
    encoder.encode(["What is 17 * 23?"])          # (1, 384) float32, rows of length 1

The files are read at the first use, with onnxruntime and tokenizers (the `local` extra). Not here: fetching them, and encoders
by torch (`sentence_transformers.py`).
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
from typing import Any, Literal

import numpy as np

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
        self._others: dict[int, OnnxEncoder] = {}

    @property
    def fingerprint(self) -> str:
        """Of both files' contents and the settings that change vectors; reads the files once."""
        return f"onnx-{self._files}-{self.max_tokens}"

    @cached_property
    def _files(self) -> str:
        digest = hashlib.sha256(self.pooling.encode())
        for path in (self.model, self.tokenizer):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()[:16]

    def reading(self, max_tokens: int) -> OnnxEncoder:
        """The same model, reading so many tokens; the same object whenever it is asked for."""
        if max_tokens == self.max_tokens:
            return self
        with self._lock:
            if max_tokens not in self._others:
                self._others[max_tokens] = OnnxEncoder(
                    self.model, self.tokenizer, pooling=self.pooling, max_tokens=max_tokens, threads=self.threads
                )
            return self._others[max_tokens]

    def variant(self, fingerprint: str) -> OnnxEncoder | None:
        """The encoder of these files that has this fingerprint; None for a fingerprint of others."""
        found = re.fullmatch(rf"onnx-{self._files}-(\d+)", fingerprint)
        return None if found is None else self.reading(int(found[1]))

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
