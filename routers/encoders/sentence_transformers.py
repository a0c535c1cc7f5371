"""Any sentence-transformers model as an encoder, by torch: the widest choice, and the slowest.

    encoder = SentenceTransformersEncoder("BAAI/bge-small-en-v1.5", threads=2)
    encoder.encode(["What is 17 * 23?"])          # (1, 384) float32, rows of length 1

Loaded at the first use, with the `torch` extra; a name is looked up on the Hugging Face hub by the library. No code that comes with
a model is run. Not here: query and document prompts; a text is encoded as it comes.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from routers.base import FloatArray


class SentenceTransformersEncoder:
    """model: a folder, or a name on the hub. max_tokens: where texts are cut, None for the model's own limit.

    threads: of torch, for the whole process; left alone it takes more than is good for one text at a time.
    """

    def __init__(self, model: str, *, max_tokens: int | None = None, threads: int = 1) -> None:
        self.model = model
        self.max_tokens = max_tokens
        self.threads = threads
        self._lock = threading.Lock()
        self._opened: Any = None
        self._others: dict[int | None, SentenceTransformersEncoder] = {}

    @property
    def fingerprint(self) -> str:
        """Of a folder's contents, which are read once, or of a name; and of the settings that change vectors."""
        return f"sentence-transformers-{self._source}-{self.max_tokens or 'all'}"

    @cached_property
    def _source(self) -> str:
        digest = hashlib.sha256(b"" if Path(self.model).is_dir() else self.model.encode())
        for path in sorted(path for path in Path(self.model).rglob("*") if path.is_file()):
            digest.update(path.relative_to(self.model).as_posix().encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()[:16]

    def reading(self, max_tokens: int | None) -> SentenceTransformersEncoder:
        """The same model, reading so many tokens; the same object whenever it is asked for."""
        if max_tokens == self.max_tokens:
            return self
        with self._lock:
            if max_tokens not in self._others:
                self._others[max_tokens] = SentenceTransformersEncoder(
                    self.model, max_tokens=max_tokens, threads=self.threads
                )
            return self._others[max_tokens]

    def variant(self, fingerprint: str) -> SentenceTransformersEncoder | None:
        """The encoder of this model that has this fingerprint; None for a fingerprint of another."""
        found = re.fullmatch(rf"sentence-transformers-{self._source}-(\d+|all)", fingerprint)
        return None if found is None else self.reading(None if found[1] == "all" else int(found[1]))

    @property
    def dimensions(self) -> int:
        """Length of a vector; loads the model."""
        return int(self.encode(["?"]).shape[1])

    def open(self) -> Any:
        """Load the model, once. Raises ImportError, naming the extra, and what the library raises for a model that isn't there."""
        with self._lock:
            if self._opened is None:
                self._opened = self._load()
            return self._opened

    def _load(self) -> Any:
        try:
            import torch
            from sentence_transformers import SentenceTransformer
        except ImportError as exc:
            raise ImportError(
                "a sentence-transformers encoder needs optional dependencies: pip install 'switchyard-llm[torch]'"
            ) from exc
        torch.set_num_threads(self.threads)
        opened = SentenceTransformer(self.model)
        if self.max_tokens is not None:
            opened.max_seq_length = self.max_tokens
        return opened

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Shape `(len(texts), dimensions)`, rows of length 1. Thread-safe."""
        opened = self.open()
        # A lone surrogate is legal in JSON and in a str, but is no text that a tokenizer takes.
        readable = [text.encode("utf-8", "replace").decode() for text in texts]
        vectors = opened.encode(readable or ["?"], normalize_embeddings=True, show_progress_bar=False)
        unit: FloatArray = np.asarray(vectors[: len(texts)], dtype=np.float32)
        return unit
