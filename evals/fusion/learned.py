"""Learned fusion in every setting that it is judged in.

    contender = learned_fusion(encoder)
    contender(train, test)["3 calls on average"]           # a `Fused`

Not here: how it learns (`routers/fusing/fusion.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from evals.fusion.comparison import Contender
from routers.base import Encoder
from routers.fusing.evaluation import budgets
from routers.fusing.fusion import Fusion
from routers.fusing.table import AnswerTable, Fused


def learned_fusion(encoder: Encoder) -> Contender:
    """One fit for all budgets. Fitting aims below a limit of mean calls, so that it holds on new queries."""

    def contender(train: AnswerTable, test: AnswerTable) -> Mapping[str, Fused]:
        fusion = Fusion(encoder=encoder).fit(train)
        return {name: fusion.fuse(test, budget) for name, budget in budgets(len(train.experts)).items()}

    return contender
