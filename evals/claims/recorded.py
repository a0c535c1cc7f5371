"""Two ways to make one answer of recorded ones, and how much more the first earns on the same held-out queries.

    gain = compare(data, lambda train, test: (vote(train, test), best_single(train, test)))
    gain.mean, gain.low, gain.high, gain.n

Five-fold cross-validation on MMLU-Pro with ten experts and ZeroEval with twelve, as in `evals/fusion/`. All queries are pooled,
each counting once; the interval is a paired bootstrap over them. Not here: routers, which see no answers (`held_out.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from evals.claims.held_out import Gain
from evals.fusion.benchmark import answer_tables
from evals.protocols import FOLDS
from routers.base import FloatArray
from routers.fusing.table import AnswerTable
from routers.training.evaluation import paired
from routers.training.holding_out import hold_out

Earned = Callable[[AnswerTable, AnswerTable], tuple[FloatArray, FloatArray]]
"""The training and the test part to what two ways earn on the test part, `(n,)` each."""


def compare(data: Path, earned: Earned) -> Gain:
    """data: the folder of outcome files. Raises ValueError when neither set is there."""
    parts = [
        earned(table.rows(train), table.rows(test))
        for _, table in answer_tables(data)
        for train, test in hold_out(table.reward_table(), folds=FOLDS).parts
    ]
    ours, theirs = (np.concatenate(each) for each in zip(*parts, strict=True))
    difference = paired(ours, theirs)
    return Gain(difference.mean, difference.low, difference.high, len(ours))
