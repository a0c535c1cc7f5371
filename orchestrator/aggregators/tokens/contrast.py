"""What a strong expert says rather than a weak one: its next tokens, less those that both hold likely.

    panels:
      contrasted: {experts: [smollm2, clumsy], aggregator: contrast, strong: smollm2, weak: clumsy, beta: 0.5}

The fused scores are `(1 + beta) strong - beta weak`, among the tokens with at least `alpha` of the probability of the strong
expert's likeliest (Unchosen Experts Can Contribute Too, arXiv 2405.14507). The paper contrasts two routings within one mixture
of experts; here they are whole experts, llama.cpp ones with one tokenizer and personas over them, of which one is the weaker.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from kernels.logit_fusion import contrast
from orchestrator.aggregators.base import Combined
from orchestrator.aggregators.table import Table
from orchestrator.aggregators.tokens.decoding import Floats
from orchestrator.aggregators.tokens.seating import check_roles, in_roles, seats_of, written_together
from orchestrator.config import ExpertBase, PanelSpec

BETA, ALPHA = 0.5, 0.1
"""The paper's."""


class Contrast:
    """strong, weak: by default the first and the second of those who can serve the request; others have no part."""

    def __init__(
        self,
        *,
        strong: str | None = None,
        weak: str | None = None,
        beta: Annotated[float, Field(ge=0)] = BETA,
        alpha: Annotated[float, Field(ge=0, le=1)] = ALPHA,
    ) -> None:
        if strong is not None and strong == weak:
            raise ValueError(f"weak: got '{weak}', which is the strong one; expected another expert")
        self._strong = strong
        self._weak = weak
        self._beta = beta
        self._alpha = alpha

    def check(self, members: Sequence[ExpertBase], panel: PanelSpec) -> None:
        check_roles(members, {"strong": self._strong, "weak": self._weak}, 2)

    async def combine(self, table: Table) -> Combined:
        """Raises `NoQuorum` without both."""
        seats = seats_of(table, in_roles(table, self._strong, self._weak)[:2], 2)
        why = f"next tokens of {seats[0].member} in contrast to {seats[1].member}'s"
        return written_together(table, seats, lambda: Contrasting(self._beta, self._alpha), why)


class Contrasting:
    """A `Rule` over the strong model and the weak one, in this order."""

    num_evidence_tokens = 0

    def __init__(self, beta: float = BETA, alpha: float = ALPHA) -> None:
        self._beta = beta
        self._alpha = alpha

    @property
    def weights(self) -> Floats:
        """`(2,)`: what each model's scores are multiplied with."""
        return np.array([1.0 + self._beta, -self._beta])

    def fuse(self, logprobs: Floats) -> Floats:
        scores: Floats = contrast(logprobs[None, 0], logprobs[None, 1], self._beta, self._alpha)[0]
        return scores

    def saw(self, logprobs: Floats) -> None:
        """What came before changes nothing."""
