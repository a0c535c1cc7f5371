"""The encoder that a trained router learned with, by its fingerprint: a router never runs on other features.

    find_encoder("hashed-4096-4096")                                     # needs no files, so it is made anew
    find_encoder("joined(1.0*onnx-92ab…-128+0.5*hashed-1024-4096)", [minilm])

Not here: which encoders a fleet has (`orchestrator/fleet/encoding.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from routers.base import Encoder
from routers.encoders.hashed import HashedEncoder
from routers.encoders.joined import JoinedEncoder
from routers.encoders.onnx import OnnxEncoder
from routers.encoders.sentence_transformers import SentenceTransformersEncoder
from routers.encoders.text import TextFeatures


def find_encoder(fingerprint: str, encoders: Sequence[Encoder] = ()) -> Encoder:
    """One without files, one of `encoders` (or of the same files with another limit of tokens), or a join of such.

    Raises ValueError, with those that there are.
    """
    made: Encoder | None = HashedEncoder.of(fingerprint) or TextFeatures.of(fingerprint)
    made = made or JoinedEncoder.of(fingerprint, lambda part: find_encoder(part, encoders))
    if made is not None:
        return made
    for encoder in encoders:
        if encoder.fingerprint == fingerprint:
            return encoder
    for encoder in encoders:
        if isinstance(encoder, OnnxEncoder | SentenceTransformersEncoder) and (same := encoder.variant(fingerprint)):
            return same
    there = ", ".join(encoder.fingerprint for encoder in encoders) or "none"
    raise ValueError(f"it was trained with the text encoder {fingerprint}; the encoders that are here: {there}")
