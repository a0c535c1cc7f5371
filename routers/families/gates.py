"""Post-hoc gates: each expert brings a gate that was trained on its own outcomes alone, and the router only compares them.

    router = GatesRouter(encoder=encoder).fit(outcomes)
    router.add_expert(ExpertCard("newcomer"), its_outcomes)     # trains the newcomer's gate and touches no other

PHATGOOSE, "Learning to Route Among Specialized Experts for Zero-Shot Generalization", arXiv 2402.05859: a gate is a vector and a
sigmoid over the features of a frozen model. There it is trained by the language-model loss and compared after
standardisation, because its scale means nothing; here it is trained by cross-entropy against the expert's own rewards, so
its output is an expected reward and can be compared as it is. A gate never sees another expert's rewards, not even which
experts there are: whoever owns an expert can train its gate. An expert without outcomes has none, and is added by its description.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field

from routers.base import Encoder, ExpertCard, FloatArray, Outcome
from routers.data.table import RewardTable
from routers.families.learned import LearnedRouter
from routers.parts.network import Network, cross_entropy, fit_network, logit, sigmoid

PRIOR_ROWS = 2
"""Queries of reward 0.5 and without any feature that every gate has seen: one lucky outcome is no expert."""


class GatesRouter(LearnedRouter):
    """penalty: of a gate's squared weights, in rows."""

    type = "gates"
    gates_: FloatArray
    """`(n_fitted_experts, dimensions + 1)`, the intercept last."""

    def __init__(
        self,
        *,
        experts: Sequence[ExpertCard] = (),
        encoder: Encoder,
        penalty: Annotated[float, Field(gt=0)] = 5.0,
    ) -> None:
        self.experts = experts
        self.encoder = encoder
        self.penalty = penalty

    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        self.gates_ = np.stack(
            [
                self._gate(vectors[tried], table.rewards[tried, column], table.weights[tried, column])
                for column, tried in enumerate(table.tried.T)
            ]
        )

    def predict_vectors(self, vectors: FloatArray) -> FloatArray:
        return sigmoid(vectors @ self.gates_[:, :-1].T + self.gates_[:, -1])

    def add_expert(self, card: ExpertCard, outcomes: Sequence[Outcome] = ()) -> None:
        """Its column comes after those of the experts that have a gate, before those that have none."""
        own = [outcome for outcome in outcomes if card.name in outcome.rewards]
        if not own or card.name in self.experts_:
            super().add_expert(card)
            return
        table = RewardTable.of(own, [card.name])
        gate = self._gate(self.encode(table.queries), table.rewards[:, 0], table.weights[:, 0])
        self.gates_ = np.vstack([self.gates_, gate])
        self.fitted_experts_ = (*self.fitted_experts_, card.name)
        self.added_ = tuple(replace(each, weights=(*each.weights, 0.0)) for each in self.added_)

    def _gate(self, vectors: FloatArray, rewards: FloatArray, weights: FloatArray) -> FloatArray:
        """From one expert's outcomes, and nothing else."""
        prior = np.zeros((PRIOR_ROWS, vectors.shape[1]), dtype=np.float32)
        inputs = np.vstack([prior, vectors])
        rewards = np.append(np.full(PRIOR_ROWS, 0.5, dtype=np.float32), rewards)
        weights = np.append(np.ones(PRIOR_ROWS, dtype=np.float32), weights)
        constant = logit(np.average(rewards, weights=weights, keepdims=True))
        found = fit_network(
            Network.start(inputs.shape[1], 0, constant, seed=0),
            inputs,
            cross_entropy(rewards[:, None], weights[:, None]),
            penalty=self.penalty,
        )
        return np.append(found.weights[0], found.biases[0]).astype(np.float32)
