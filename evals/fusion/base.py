"""What learned fusion is compared with: ways to combine recorded answers that have a knob, how many calls they may make.

    baseline = TopVote(weighted=True).fit(train)
    baseline.curve(test)                      # one `Fused` per setting of the knob, the same settings for every table

A baseline learns from the training part alone. Which of its settings are used is chosen by what they earn there
(`evals/fusion/matching.py`). Not here: the baselines themselves, by name in `evals/fusion/registry.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

from routers.fusing.table import AnswerTable, Fused


class Baseline(Protocol):
    """Estimator convention, as `routers.fusing.table.Method`, for all settings at once."""

    def fit(self, table: AnswerTable) -> Self: ...

    def curve(self, table: AnswerTable) -> Sequence[Fused]: ...
