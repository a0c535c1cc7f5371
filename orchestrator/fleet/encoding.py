"""Which text encoder the routers read with, and that it stays in memory over reloads.

    encoders = Encoders()
    encoders.choose(config, base_dir)             # the same object until another expert comes first, or its files change

It is the model of the fleet's first ONNX embedding expert whose weights are there; without one, texts are told apart by spelling
only. Not here: the encoders themselves (`routers/encoders.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orchestrator.config import Config, OnnxSpec
from orchestrator.errors import ConfigError
from orchestrator.fleet.weights import weights_path
from routers.base import Encoder
from routers.encoders import HashedEncoder, OnnxEncoder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Source:
    """What an encoder is made of. version: of both files, by size and time of change."""

    model: Path
    tokenizer: Path
    pooling: Literal["mean", "cls"]
    version: tuple[tuple[int, int], ...]


class Encoders:
    """One per service: it keeps the encoder that it chose last."""

    def __init__(self) -> None:
        self._source: _Source | None = None
        self._encoder: Encoder = HashedEncoder()

    def choose(self, config: Config, base_dir: Path) -> Encoder:
        """What the routers of this fleet read texts with. Weights that are missing are told in the log. Opens nothing."""
        source = next(_sources(config, base_dir), None)
        if source != self._source:
            self._source = source
            self._encoder = (
                HashedEncoder()
                if source is None
                else OnnxEncoder(source.model, source.tokenizer, pooling=source.pooling)
            )
        return self._encoder


def _sources(config: Config, base_dir: Path) -> Iterator[_Source]:
    for spec in config.experts:
        if isinstance(spec, OnnxSpec) and spec.kind == "embedding":
            try:
                files = weights_path(spec.model, base_dir), weights_path(spec.tokenizer, base_dir)
            except ConfigError as error:
                logger.warning("routers can't read texts by the model of %s: %s", spec.name, error.message)
                continue
            stats = [file.stat() for file in files]
            yield _Source(*files, spec.pooling, tuple((stat.st_size, stat.st_mtime_ns) for stat in stats))
