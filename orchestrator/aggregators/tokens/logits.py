"""Next tokens of several experts mixed, each weighted by how well it foresaw the conversation and the text so far.

    panels:
      mixed: {experts: [smollm2, editor], aggregator: logits, prior: {smollm2: 2, editor: 1}}

The next token's probability is `sum_i p(i | prefix) p_i(token | prefix)`, and `p(i | prefix)` follows from Bayes' rule: the
expert's prior times the probability that it gave to every token of the prefix (DEMix, arXiv 2108.05036; Branch-Train-Merge, arXiv
2208.03306). The prefix is the text so far and the last `evidence_tokens` of the prompt, as far as all experts' prompts end in the
same tokens. `decay` below 1 makes earlier tokens count less; `top_k` mixes so many experts at most. Members are llama.cpp experts
with one tokenizer, and personas over them. Departs from the papers: the prior is given, not estimated from a domain's data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from kernels.gating import gate
from kernels.logit_fusion import mixture
from orchestrator.aggregators.base import Combined
from orchestrator.aggregators.table import Table
from orchestrator.aggregators.tokens.decoding import Floats
from orchestrator.aggregators.tokens.seating import check_roles, seats_of, written_together
from orchestrator.config import ExpertBase, PanelSpec


class Logits:
    """prior: relative weights of experts, 1 for whom it does not name. evidence_tokens: each is a step before the first token."""

    def __init__(
        self,
        *,
        prior: Mapping[str, Annotated[float, Field(gt=0)]] | None = None,
        decay: Annotated[float, Field(gt=0, le=1)] = 1.0,
        top_k: Annotated[int, Field(ge=1)] | None = None,
        evidence_tokens: Annotated[int, Field(ge=0)] = 32,
    ) -> None:
        self._prior = prior or {}
        self._decay = decay
        self._top_k = top_k
        self._num_evidence_tokens = evidence_tokens

    def check(self, members: Sequence[ExpertBase], panel: PanelSpec) -> None:
        check_roles(members, {}, 2)
        names = [member.name for member in members]
        if strangers := [expert for expert in self._prior if expert not in names]:
            raise ValueError(f"prior: got '{strangers[0]}', expected some of {', '.join(names)}")

    async def combine(self, table: Table) -> Combined:
        seats = seats_of(table, table.members, max(2, table.quorum))
        log_prior = np.log([self._prior.get(seat.member, 1.0) for seat in seats])

        def rule() -> Posterior:
            return Posterior(log_prior, self._decay, self._top_k, self._num_evidence_tokens)

        return written_together(table, seats, rule, f"next tokens of {len(seats)} experts mixed")


class Posterior:
    """A `Rule`: weights are `softmax(log prior + sum_t decay^age_t log p_i(token_t))`.

    log_prior: `(m,)`, minus infinity for an expert that takes no part.
    """

    def __init__(
        self, log_prior: Floats, decay: float = 1.0, top_k: int | None = None, num_evidence_tokens: int = 0
    ) -> None:
        self.num_evidence_tokens = num_evidence_tokens
        self._log_prior = log_prior
        self._decay = decay
        self._top_k = top_k
        self._log_likelihoods = np.zeros_like(log_prior)

    @property
    def weights(self) -> Floats:
        """`(m,)`, summing to 1: the experts' posterior after what was seen."""
        scores = self._log_prior + self._log_likelihoods
        weights = gate((scores - scores.max()).astype(np.float32)[None], top_k=self._top_k)[0].astype(np.float64)
        normalised: Floats = weights / weights.sum()
        return normalised

    def fuse(self, logprobs: Floats) -> Floats:
        scores: Floats = mixture(logprobs[None], self.weights[None])[0]
        return scores

    def saw(self, logprobs: Floats) -> None:
        self._log_likelihoods = self._decay * self._log_likelihoods + logprobs
