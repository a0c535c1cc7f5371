"""Weights of specialists found for each token, against the same weight at every token.

claim(Path("data/outcomes")).difference       # nats per token that dynamic weights foresee better

A proxy: one model of 135 million parameters under four prompts stands in for a large model, its small kin, and what that became
in training. The outcomes are not used.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evals.claims.base import Claim
from evals.claims.token_texts import COOK, FORECASTER, GENERAL, PLAIN, reading
from orchestrator.aggregators.tokens.decoding import Floats
from orchestrator.aggregators.tokens.dynamic_logits import Steering
from routers.training.evaluation import bootstrap


def claim(data: Path) -> Claim:
    """Raises ConfigError when the fleet's weights have not been pulled."""
    texts = reading((GENERAL, PLAIN, COOK, FORECASTER))
    found = bootstrap(
        np.array([text.held(Steering(4))[0] - text.held(Static())[0] for text in texts], dtype=np.float32)
    )
    return Claim(
        name="dynamic_logits",
        paper="arXiv 2406.15480 (proxy)",
        statement="two specialists steer a general expert better with weights found per token than with equal ones that sum to 1",
        difference=found.mean,
        low=found.low,
        high=found.high,
        n=len(texts),
        unit="nats per token",
    )


class Static:
    """A `Rule` over the large model, its base and specialists: the mean of the specialists' shifts is added."""

    num_evidence_tokens = 0
    weights = np.zeros(0)

    def fuse(self, logprobs: Floats) -> Floats:
        scores: Floats = logprobs[0] + logprobs[2:].mean(axis=0) - logprobs[1]
        return scores

    def saw(self, logprobs: Floats) -> None:
        """What came before changes nothing."""
