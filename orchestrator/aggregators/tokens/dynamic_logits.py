"""A large expert's next tokens, moved as its small kin were moved by what they specialised in.

    panels:
      steered: {experts: [large, small, small-maths, small-law], aggregator: dynamic_logits, large: large, base: small}

The fused scores are `large + sum_k a_k (specialist_k - base)`, and the weights a are found anew for each token, so that the fused
distribution is as far from the large one (Kullback-Leibler) as the specialists are from their base (Dynamic Logits Fusion, arXiv
2406.15480). Where the paper searches a grid, `kernels.logit_fusion.steer` solves. Members are llama.cpp experts with one
tokenizer, and personas over them: a persona is a specialist whose training is its prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from kernels.logit_fusion import AT_MOST, steer
from orchestrator.aggregators.base import Combined
from orchestrator.aggregators.table import Table
from orchestrator.aggregators.tokens.decoding import Floats
from orchestrator.aggregators.tokens.seating import check_roles, in_roles, seats_of, written_together
from orchestrator.config import ExpertBase, PanelSpec


class DynamicLogits:
    """large, base: by default the first and the second of those who can serve it. at_most: the sum of a token's weights."""

    def __init__(
        self,
        *,
        large: str | None = None,
        base: str | None = None,
        at_most: Annotated[float, Field(gt=0)] = AT_MOST,
    ) -> None:
        self._large = large
        self._base = base
        self._at_most = at_most

    def check(self, members: Sequence[ExpertBase], panel: PanelSpec) -> None:
        check_roles(members, {"large": self._large, "base": self._base}, 3)

    async def combine(self, table: Table) -> Combined:
        """Raises `NoQuorum` without the large expert, its base and a specialist, and when any member has no tokens."""
        members = in_roles(table, self._large, self._base)
        seats = seats_of(table, members, max(3, len(members)))
        why = f"next tokens of {members[0]}, moved as {members[1]} is by {', '.join(members[2:])}"
        return written_together(table, seats, lambda: Steering(len(seats), self._at_most), why)


class Steering:
    """A `Rule` over the large model, its base and specialists, in this order."""

    num_evidence_tokens = 0

    def __init__(self, num_models: int, at_most: float = AT_MOST) -> None:
        self._at_most = at_most
        self._totals = np.zeros(num_models - 2)
        self._num_tokens = 0

    @property
    def weights(self) -> Floats:
        """`(m,)`: what each model's scores were multiplied with, on average over the text."""
        specialists = self._totals / max(1, self._num_tokens)
        return np.concatenate([[1.0, -specialists.sum()], specialists])

    def fuse(self, logprobs: Floats) -> Floats:
        fused, weights = steer(logprobs[None, 0], logprobs[None, 1], logprobs[None, 2:], self._at_most)
        self._totals += weights[0]
        self._num_tokens += 1
        scores: Floats = fused[0]
        return scores

    def saw(self, logprobs: Floats) -> None:
        """What came before changes nothing."""
