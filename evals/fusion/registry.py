"""The baselines by name.

    baseline = BASELINES["cascade routing"](skills).fit(train)

Not here: those without a knob, and learned fusion itself (both in `routers/fusing/`).
"""

from __future__ import annotations

from collections.abc import Callable

from evals.fusion.base import Baseline
from evals.fusion.cascading import CascadeRouting
from evals.fusion.gate import AgreementGate
from evals.fusion.information import InformedVote
from evals.fusion.retrying import Retry
from evals.fusion.skills import Skills
from evals.fusion.subsets import ComplementaryVote, TopVote

BASELINES: dict[str, Callable[[Skills], Baseline]] = {
    "cascade routing": CascadeRouting,
    "mutual information": lambda skills: InformedVote(),
    "complementary": lambda skills: ComplementaryVote(),
    "agreement gate": lambda skills: AgreementGate(),
    "top-k, majority": lambda skills: TopVote(weighted=False),
    "top-k, weighted": lambda skills: TopVote(),
    "top-k of the group": lambda skills: TopVote(skill=skills.grouped),
    "best single, retried": lambda skills: Retry(),
    "router, retried": lambda skills: Retry(skill=skills.routed),
}
"""Given skills that are fitted on the training part."""
