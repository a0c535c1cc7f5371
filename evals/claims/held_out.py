"""Two routers on the same held-out queries, and how much more the first one earns: what most claims come down to.

    gain = compare(data, lambda encoder: GatesRouter(encoder=encoder), lambda encoder: KnnRouter(encoder=encoder))
    gain.mean, gain.low, gain.high, gain.n

Five-fold cross-validation on three sets of outcomes, texts read by the shipped fleet's MiniLM, their vectors kept in the model
cache. All queries are pooled, each counting once; the interval is a paired bootstrap over them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evals.protocols import Protocol, protocols
from orchestrator.fleet.configfile import load_config
from orchestrator.fleet.encoding import training_encoder
from routers.base import Encoder, FloatArray
from routers.data.splits import query_hash
from routers.families.learned import EncodedRouter
from routers.training.evaluation import choose, earned, paired

MakeRouter = Callable[[Encoder], EncodedRouter]

SHIPPED = Path(__file__).parents[2] / "experts.yaml"
FEATURES = "minilm"
PROTOCOLS = ("llmrouter9", "mmlupro10", "zeroeval12")


@dataclass(frozen=True, slots=True)
class Gain:
    """Mean difference in reward over `n` queries, with its 95% interval."""

    mean: float
    low: float
    high: float
    n: int


def compare(data: Path, first: MakeRouter, second: MakeRouter) -> Gain:
    """data: the folder with outcome files. Raises ValueError when none of the three sets is there."""
    found = [protocol for protocol in protocols(data) if protocol.name in PROTOCOLS]
    if not found:
        raise ValueError(f"{data}: expected the outcomes of one of {', '.join(PROTOCOLS)}")
    encoder = claim_encoder()
    ours, theirs = (
        np.concatenate([_once_each(protocol, held_out_rewards(protocol, make, encoder)) for protocol in found])
        for make in (first, second)
    )
    difference = paired(ours, theirs)
    return Gain(difference.mean, difference.low, difference.high, len(ours))


def claim_encoder() -> Encoder:
    """The shipped fleet's MiniLM. Raises ConfigError when its weights have not been pulled."""
    return training_encoder(FEATURES, load_config(SHIPPED), SHIPPED.parent)


def held_out_rewards(protocol: Protocol, make: MakeRouter, encoder: Encoder) -> FloatArray:
    """`(n,)`: what the router's choice earns on each test query, fold after fold."""
    rewards = []
    for train, test in protocol.splits:
        router = make(encoder)
        router.fit_encoded(train, router.encode(train.queries))
        rewards.append(earned(test, choose(router.predict_encoded(router.encode(test.queries)))))
    return np.concatenate(rewards)


def _once_each(protocol: Protocol, rewards: FloatArray) -> FloatArray:
    """The mean of each text, because cross-validation in rounds tests a query several times."""
    hashes = [query_hash(query) for _, test in protocol.splits for query in test.queries]
    _, numbers = np.unique(np.array(hashes, dtype=np.uint64), return_inverse=True)
    means: FloatArray = (np.bincount(numbers, weights=rewards) / np.bincount(numbers)).astype(np.float32)
    return means
