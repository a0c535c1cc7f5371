"""The mixture of experts by their posterior, against the best one expert for texts of mixed domains.

claim(Path("data/outcomes")).difference       # nats per token that the mixture foresees better

A proxy: one model of 135 million parameters under two prompts stands in for models that were trained on a domain each. The
outcomes are not used.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evals.claims.base import Claim
from evals.claims.token_texts import COOK, FORECASTER, reading
from orchestrator.aggregators.tokens.logits import Posterior
from routers.training.evaluation import bootstrap


def claim(data: Path) -> Claim:
    """Raises ConfigError when the fleet's weights have not been pulled."""
    held = np.array([read.held(Posterior(np.zeros(2))) for read in reading((COOK, FORECASTER))], dtype=np.float32)
    best = int(held[:, 1:].mean(axis=0).argmax()) + 1
    found = bootstrap(held[:, 0] - held[:, best])
    return Claim(
        name="logits",
        paper="arXiv 2108.05036, 2208.03306 (proxy)",
        statement="experts of two domains, mixed by their posterior, foresee texts of both better than the best of them alone",
        difference=found.mean,
        low=found.low,
        high=found.high,
        n=len(held),
        unit="nats per token",
    )
