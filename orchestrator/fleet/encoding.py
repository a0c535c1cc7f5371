"""What routers of this fleet can read texts with: its embedding experts' models, and two encoders that need none.

    encoders = Encoders()
    encoders.of(config, base_dir).default         # the same object until another expert comes first, or its files change
    training_encoder("minilm:256+0.5*hashed", config, base_dir)

By default it is the model of the fleet's first ONNX embedding expert whose weights are there; without one, texts are told apart by
spelling only. A trained router gets the encoder that it learned with (`routers/encoders/finding.py`). Not here: the encoders
themselves (`routers/encoders/`).
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.config import Config, ExpertBase, OnnxSpec, OpenAISpec, SentenceTransformersSpec
from orchestrator.errors import ConfigError
from orchestrator.fleet.weights import cache_dir, weights_path
from routers.base import Encoder
from routers.encoders import HashedEncoder, JoinedEncoder, OnnxEncoder, SentenceTransformersEncoder, TextFeatures
from routers.encoders.cache import CachedEncoder
from routers.encoders.endpoint import EndpointEncoder

_TERM = re.compile(r"(?:(?P<weight>\d*\.?\d+)\*)?(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?::(?P<number>[1-9]\d*))?")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FleetEncoders:
    """default: for routers that are fitted when the fleet is made. by_expert: every embedding expert's whose files are there."""

    default: Encoder
    by_expert: Mapping[str, Encoder]


class Encoders:
    """One per service: it keeps the encoders of the last fleet, so that a reload opens nothing twice. threads: of each one."""

    def __init__(self, *, threads: int = 1) -> None:
        self._threads = threads
        self._hashed = HashedEncoder()
        self._made: dict[Hashable, Encoder] = {}

    def of(self, config: Config, base_dir: Path) -> FleetEncoders:
        """Weights that are missing are told in the log. Opens nothing."""
        made: dict[Hashable, Encoder] = {}
        by_expert: dict[str, Encoder] = {}
        for spec in filter(_is_readable, config.experts):
            try:
                key, make = _source(spec, base_dir, self._threads)
            except ConfigError as error:
                logger.warning("routers can't read texts by the model of %s: %s", spec.name, error.message)
                continue
            made[key] = by_expert[spec.name] = self._made.get(key) or make()
        self._made = made
        default = next((encoder for encoder in by_expert.values() if isinstance(encoder, OnnxEncoder)), self._hashed)
        return FleetEncoders(default, by_expert)


def training_encoder(features: str | None, config: Config, base_dir: Path) -> Encoder:
    """The encoder that `features` names, keeping the vectors of models on disk; None for the fleet's default.

    features: `hashed`, `text` or the name of an embedding expert; with a number the dimensions of `hashed:1024`, or the tokens that
    `minilm:256` reads; several are joined by `+`, each perhaps with a weight: `minilm+0.5*hashed`. Raises `ConfigError`.
    """
    if features is None:
        return cached(Encoders(threads=_num_threads()).of(config, base_dir).default)
    terms = [_term(term, features, config, base_dir) for term in features.split("+")]
    return (
        terms[0][1] if len(terms) == 1 else JoinedEncoder([part for _, part in terms], [weight for weight, _ in terms])
    )


def _term(term: str, features: str, config: Config, base_dir: Path) -> tuple[float, Encoder]:
    """A weight and an encoder."""
    found = _TERM.fullmatch(term.strip())
    if found is None:
        raise ConfigError(
            f"features '{features}': got '{term}', expected NAME, NAME:NUMBER or WEIGHT*NAME, joined by +"
        )
    weight, number = float(found["weight"] or 1.0), int(found["number"]) if found["number"] else None
    if weight == 0.0:
        raise ConfigError(f"features '{features}': got the weight 0 for '{found['name']}', expected more")
    try:
        return weight, _named(found["name"], number, config, base_dir)
    except ConfigError as exc:
        raise ConfigError(f"features '{features}': {exc.message}") from exc


def _named(name: str, number: int | None, config: Config, base_dir: Path) -> Encoder:
    if name == "hashed":
        return HashedEncoder() if number is None else HashedEncoder(number)
    readable = {spec.name: spec for spec in filter(_is_readable, config.experts)}
    if name == "text":
        encoder: Encoder = TextFeatures()
    elif name in readable:
        encoder = _source(readable[name], base_dir, _num_threads())[1]()
    else:
        known = ", ".join(("hashed", "text", *readable))
        raise ConfigError(f"'{name}' is nothing that texts can be read with; expected one of {known}")
    if number is not None:
        if not isinstance(encoder, OnnxEncoder | SentenceTransformersEncoder):
            raise ConfigError(f"'{name}' takes no number; expected '{name}' alone")
        encoder = encoder.reading(number)
    return cached(encoder)


def cached(encoder: Encoder) -> Encoder:
    """The encoder with its vectors kept on disk, for training; spelling and looks cost less than a look at the disk."""
    if isinstance(encoder, HashedEncoder | TextFeatures):
        return encoder
    return CachedEncoder(encoder, cache_dir() / "vectors.db")


def _num_threads() -> int:
    """Training has the machine to itself; a server leaves it to the gateway."""
    return os.cpu_count() or 1


def _is_readable(spec: ExpertBase) -> bool:
    return spec.kind == "embedding" and isinstance(spec, OnnxSpec | SentenceTransformersSpec | OpenAISpec)


def _source(spec: ExpertBase, base_dir: Path, threads: int) -> tuple[Hashable, Callable[[], Encoder]]:
    """What an expert's encoder is made of, and how. Raises `ConfigError` when its files aren't there."""
    match spec:
        case OnnxSpec():
            model, tokenizer = weights_path(spec.model, base_dir), weights_path(spec.tokenizer, base_dir)
            key: Hashable = (model, tokenizer, spec.pooling, _version(model), _version(tokenizer))
            return key, lambda: OnnxEncoder(model, tokenizer, pooling=spec.pooling, threads=threads)
        case SentenceTransformersSpec():
            place = spec.model if isinstance(spec.model, str) else str(weights_path(spec.model, base_dir))
            files = tuple(_version(path) for path in sorted(Path(place).rglob("*")))
            return (place, spec.context, files), lambda: SentenceTransformersEncoder(
                place, max_tokens=spec.context, threads=threads
            )
        case OpenAISpec():
            return _endpoint(spec)
    raise ConfigError(f"'{spec.name}' has the backend '{spec.backend}', which routers can't read texts with")


def _endpoint(spec: OpenAISpec) -> tuple[Hashable, Callable[[], Encoder]]:
    size, model = spec.parameters.set.get("dimensions"), spec.model or spec.name
    key = (spec.base_url, model, spec.api_key_env, tuple(spec.headers.items()), size)
    return key, lambda: EndpointEncoder(
        spec.base_url, model, api_key_env=spec.api_key_env, headers=spec.headers, size=size
    )


def _version(path: Path) -> tuple[int, int]:
    """Of a file, by size and time of change."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
