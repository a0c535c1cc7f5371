"""Texts to unit vectors: what routers read queries with.

    from routers.encoders import HashedEncoder
    HashedEncoder().encode(["What is 17 * 23?"])          # (1, 4096) float32, rows of length 1

All of them are `routers.base.Encoder`. Nothing is opened or imported before the first `encode`. Not here: batching across requests
(`orchestrator/routing/scoring.py`), serving embeddings to clients (`orchestrator/experts/onnx.py`), and which of them a fleet has
(`orchestrator/fleet/encoding.py`). `EndpointEncoder` is imported from its module, which loads an HTTP client.
"""

from routers.encoders.finding import find_encoder
from routers.encoders.hashed import HashedEncoder
from routers.encoders.joined import JoinedEncoder
from routers.encoders.onnx import OnnxEncoder
from routers.encoders.sentence_transformers import SentenceTransformersEncoder
from routers.encoders.text import TextFeatures

__all__ = [
    "HashedEncoder",
    "JoinedEncoder",
    "OnnxEncoder",
    "SentenceTransformersEncoder",
    "TextFeatures",
    "find_encoder",
]
