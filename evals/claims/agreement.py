"""Two experts, and an arbiter only where they disagree, as `cascade` with `agree: 2` asks, against votes by as many calls.

claim(Path("data/outcomes")).difference       # reward by the gate, less that of the best experts' weighted vote

The pair and the arbiter are those that earn most in training. The votes are of the best one, two, three experts, those that earn
most in training, mixed by query to make as many calls as the gate does on average.
"""

from __future__ import annotations

from pathlib import Path

from evals.claims.base import Claim
from evals.claims.recorded import compare
from evals.fusion.gate import AgreementGate
from evals.fusion.matching import at_calls, best_settings
from evals.fusion.subsets import TopVote
from routers.base import FloatArray
from routers.fusing.table import AnswerTable


def claim(data: Path) -> Claim:
    """Raises ValueError when the outcomes are not there."""
    gain = compare(data, _earned)
    return Claim(
        name="agreement",
        paper="arXiv 2407.02348, 2305.05176",
        statement="two experts, and a third where they disagree, earn more than the best experts' weighted vote by as many calls",
        difference=gain.mean,
        low=gain.low,
        high=gain.high,
        n=gain.n,
    )


def _earned(train: AnswerTable, test: AnswerTable) -> tuple[FloatArray, FloatArray]:
    gate, votes = AgreementGate().fit(train), TopVote(weighted=True).fit(train)
    in_training = gate.curve(train)
    pairs = [place for place, each in enumerate(gate.gates_) if each.arbiter]
    gated = gate.curve(test)[max(pairs, key=lambda place: in_training[place].rewards(train).mean())]
    kept, curve = best_settings(votes.curve(train), train), votes.curve(test)
    voted = at_calls([curve[place] for place in kept], test, float(gated.calls.mean()))
    return gated.rewards(test), voted.rewards(test)
