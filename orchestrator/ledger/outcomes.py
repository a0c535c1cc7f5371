"""What decisions and the feedback on them say together: outcomes to learn from, and what a policy's choices earned.

    outcome(decision, "smollm2", [Given(None, 1.0, None)])       # Outcome(rewards={"smollm2": 1.0}, propensity={...}, ...)

Pure. Not here: how they are stored and found (`sql.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from orchestrator.ledger.base import Routed
from orchestrator.types import Decision
from routers.base import Outcome


class Given(NamedTuple):
    """One piece of feedback. expert: whom it is about, if not who answered."""

    expert: str | None
    score: float | None
    correction: str | None


def outcome(decision: Decision, answered: str, given: Sequence[Given]) -> Outcome:
    """A scored decision as an outcome. The cost is that of the expert that answered, and of nobody else.

    An expert that was called by name, that a collection belongs to, or whose answer was held back first, was not chosen by scores
    alone: it has no propensity. Beside it stand the propensities of those that could have been bound and have no reward.
    """
    rewards = _scores(given, answered)
    others = {name: chance for name, chance in decision.propensities.items() if name not in rewards}
    corrections = [piece.correction for piece in given if piece.correction]
    return Outcome(
        id=decision.id,
        query=decision.text,
        rewards=rewards,
        costs={answered: _cost_of(decision, answered)} if answered in rewards else {},
        propensity={answered: decision.propensity} | others if answered in rewards and was_routed(decision) else {},
        target=corrections[-1] if corrections else None,
    )


def routed(decision: Decision, answered: str, given: Sequence[Given]) -> Routed:
    reward = _scores(given, answered).get(answered)
    return Routed(decision.text, answered, reward, _cost_of(decision, answered), decision.propensities)


def was_routed(decision: Decision) -> bool:
    """Whether a policy chose by a router's scores, one decision at a time."""
    return decision.router is not None and decision.mode == "one" and decision.kind in ("chat", "completion")


def _scores(given: Sequence[Given], answered: str) -> dict[str, float]:
    """The last score of each expert that got one."""
    return {piece.expert or answered: piece.score for piece in given if piece.score is not None}


def _cost_of(decision: Decision, answered: str) -> float:
    """In USD. Where answers were held back, the others', and what was asked to judge them, are no cost of who answered."""
    if decision.mode not in ("cascade", "adaptive"):
        return decision.cost_usd
    own = [a.cost_usd for a in decision.attempts if a.expert == answered and a.purpose in ("answer", "sample")]
    return own[-1] if own else sum(a.cost_usd for a in decision.attempts if a.purpose != "sample")
