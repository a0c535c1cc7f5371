"""A mixture of prompts on disk: a folder of `config.json`, `weights.safetensors` and `demonstrations.jsonl`.

    save_mixture(Path("prompts/math"), mixture, encoder=minilm.fingerprint, regions=regions)
    mixture, encoder = load_mixture(Path("prompts/math"), [minilm])

Instructions are in `config.json`, one a region, with what they earned when they were chosen. Everything is under a checksum, as a
trained router is (`routers/artifact.py`), so an edited instruction is refused too: give it to `switchyard prompts build`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from orchestrator.config import INSTRUCTION_TOKENS
from orchestrator.mixtures.mixture import Demonstration, Mixture, instruction_tokens
from routers.artifact import CONFIG, FORMAT, WEIGHTS, ArtifactError, read_body, read_tensors, write_folder
from routers.base import Encoder
from routers.encoders import find_encoder

DEMONSTRATIONS = "demonstrations.jsonl"
KIND = "prompts"


@dataclass(frozen=True, slots=True)
class Region:
    """Of one region: its instruction, how many demonstrations lie there, and its mean reward 0..1 on `validated` queries.

    reward: None where no instruction was tried.
    """

    instruction: str
    demonstrations: int
    reward: float | None = None
    validated: int = 0


@dataclass(frozen=True, slots=True)
class _Config:
    kind: str
    encoder: str
    regions: tuple[Region, ...]
    demonstrations_sha256: str
    weights_sha256: str
    fingerprint: str
    format: int


@dataclass(frozen=True, slots=True)
class _Line:
    region: int
    query: str
    answer: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A mixture, and the encoder that its vectors are of."""

    mixture: Mixture
    encoder: Encoder


def save_mixture(folder: Path, mixture: Mixture, *, encoder: str, regions: Sequence[Region]) -> str:
    """Write the folder, or put it in the place of an artifact, and return its fingerprint. encoder: its fingerprint.

    Raises ArtifactError when `folder` holds anything that is no artifact.
    """
    pairs = zip(mixture.regions.tolist(), mixture.demonstrations, strict=True)
    rows = ({"region": region, "query": each.query, "answer": each.answer} for region, each in pairs)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    body = {
        "format": FORMAT,
        "kind": KIND,
        "encoder": encoder,
        "regions": [asdict(region) for region in regions],
        "demonstrations_sha256": hashlib.sha256(lines.encode()).hexdigest(),
    }
    tensors = {"centres": mixture.centres, "vectors": mixture.vectors}
    return write_folder(folder, body, tensors, {DEMONSTRATIONS: lines})


def load_mixture(folder: Path, encoders: Sequence[Encoder]) -> Loaded:
    """encoders: those that there are here. Raises ArtifactError for a folder that is missing, damaged, or of another encoder."""
    body = read_body(folder / CONFIG, "`switchyard prompts build`", "build the prompts again")
    try:
        config = TypeAdapter(_Config).validate_python(body)
        tensors = read_tensors(folder / WEIGHTS, config.weights_sha256)
        lines = _read_lines(folder / DEMONSTRATIONS, config.demonstrations_sha256)
        mixture = Mixture(
            tuple(region.instruction for region in config.regions),
            tensors["centres"],
            tuple(Demonstration(line.query, line.answer) for line in lines),
            tensors["vectors"],
            np.array([line.region for line in lines], dtype=np.intp),
        )
        encoder = find_encoder(config.encoder, encoders)
        _check(mixture, encoder)
    except ArtifactError:
        raise
    except (KeyError, ValueError) as exc:
        raise ArtifactError(f"{folder}: can't be used: {exc}") from exc
    return Loaded(mixture, encoder)


def _read_lines(path: Path, sha256: str) -> list[_Line]:
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ArtifactError(f"{path}: can't be read ({exc.strerror})") from exc
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ArtifactError(f"{path}: damaged: its content does not match its checksum")
    return [TypeAdapter(_Line).validate_json(line) for line in data.splitlines()]


def _check(mixture: Mixture, encoder: Encoder) -> None:
    """Raises ValueError unless everything fits together."""
    dimensions = encoder.encode(["ready?"]).shape[1]
    expected: dict[str, Any] = {
        "centres": (len(mixture.instructions), dimensions),
        "vectors": (len(mixture.demonstrations), dimensions),
    }
    for name, shape in expected.items():
        if getattr(mixture, name).shape != shape:
            raise ValueError(f"'{name}' has the shape {getattr(mixture, name).shape}, expected {shape}")
    if not mixture.instructions or not np.isin(mixture.regions, np.arange(len(mixture.instructions))).all():
        raise ValueError("a demonstration lies in a region that there isn't")
    for instruction in mixture.instructions:
        if instruction_tokens(instruction) > INSTRUCTION_TOKENS:
            raise ValueError(f"an instruction takes more than {INSTRUCTION_TOKENS} tokens: '{instruction[:60]}...'")
