"""One query, a call at a time: whom to ask next, and which of the answers to believe.

    asking = fusion.begin("What is 17 * 23?", Budget(mean_calls=3), experts=["small", "large"])
    known = {}
    while (expert := asking.next(known)) is not None:
        known[expert] = await ask(expert)                   # None for an answer that can't be used
    asking.best(known).answer

Answers may come in any order and number: several experts may be asked at once. Pure: it keeps nothing of what it was shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from routers.fusing.budget import Budget, Rule
from routers.fusing.camps import Evidence
from routers.fusing.playing import Reading, State
from routers.fusing.table import BoolArray, concluded

if TYPE_CHECKING:
    from routers.fusing.fusion import Fusion


@dataclass(frozen=True, slots=True)
class Belief:
    """answer: the text to take, None where none is usable. expert: who gave it. probability: that it is right, 0..1.

    weights: of each expert with a usable answer, the share of belief in what it concluded, 0..1.
    """

    answer: str | None
    expert: str | None
    probability: float
    weights: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Asking:
    """feasible: `(1, m)`, who may be asked. max_calls: None for no limit."""

    fusion: Fusion
    rule: Rule
    max_calls: int | None
    reading: Reading
    feasible: BoolArray

    @classmethod
    def begin(cls, fusion: Fusion, query: str, budget: Budget, experts: Sequence[str]) -> Self:
        """Encodes the query. Raises ValueError for experts that were not learned of, for none, and as `Fusion.rule` does."""
        if unknown := [name for name in experts if name not in fusion.experts_]:
            raise ValueError(f"'{unknown[0]}' is unknown to this fusion, which knows {', '.join(fusion.experts_)}")
        if not experts:
            raise ValueError(f"no expert may be asked, expected some of {', '.join(fusion.experts_)}")
        feasible = np.array([[name in experts for name in fusion.experts_]])
        rule = fusion.rule(budget)
        return cls(fusion, rule, budget.max_calls, fusion.read(fusion.encode([query]), rule), feasible)

    def next(self, known: Mapping[str, str | None]) -> str | None:
        """Whom to ask, None for enough. known: text by expert that was asked, None for one that is unusable."""
        names = self.fusion.experts_
        left: list[int] = [i for i in self.reading.order[0].tolist() if self.feasible[0, i] and names[i] not in known]
        if not left or (self.max_calls is not None and len(known) >= self.max_calls):
            return None
        if known and not self.fusion.wants_more(self._state(known)[0], np.array(left[:1]), self.rule)[0]:
            return None
        return names[left[0]]

    def best(self, known: Mapping[str, str | None]) -> Belief:
        """What to make of the answers that are there."""
        state, evidence = self._state(known)
        best = int(state.best[0])
        if best < 0:
            return Belief(None, None, 0.0, {})
        shares = evidence.same[0].astype(np.float32) @ state.shares[0]  # a camp's share stands at its first expert
        names, usable = self.fusion.experts_, np.flatnonzero(evidence.usable[0])
        weights = {names[i]: float(shares[i]) for i in usable}
        probability = float(self.fusion.stopping_(state.features)[1][0])
        return Belief(known[names[best]], names[best], probability, weights)

    def _state(self, known: Mapping[str, str | None]) -> tuple[State, Evidence]:
        names = self.fusion.experts_
        texts = np.array([[known.get(name) for name in names]], dtype=np.object_)
        evidence = Evidence.of(concluded(texts), texts)
        asked = np.array([[name in known for name in names]])
        return self.fusion.state(evidence, self.reading, self.feasible, asked), evidence
