"""Whether a log can say anything of a candidate's choices: how many it saw made, and which it never could have.

    found = overlap(log, choice)
    found.effective_sample_size        # 412.0: as much as so many decisions of the candidate's own would say
    found.warnings                     # ("the candidate would have chosen large 812 times where it was never asked: ...",)

Not here: what is concluded (`comparing.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evals.offpolicy.estimators import Actions, effective_sample_size
from evals.offpolicy.logs import Log

SMALL_SHARE = 0.1
"""A log that is worth less than this share of its decisions gets a warning."""
LARGE_WEIGHT = 0.05
"""A decision that counts for more than this share of all weights gets a warning."""


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """supported: `(n,)`, where the candidate's choice had a propensity and its expert ever got feedback.

    effective_sample_size: of the candidate's weights over scored decisions (Kish); max_weight: the largest of them. chosen: how
    often the candidate takes each expert; unsupported: how often where nothing is known of it. warnings: in words.
    """

    supported: NDArray[np.bool_]
    effective_sample_size: float
    max_weight: float
    chosen: Mapping[str, int]
    unsupported: Mapping[str, int]
    warnings: tuple[str, ...]

    @property
    def share_unsupported(self) -> float:
        return float(1.0 - self.supported.mean())


def overlap(log: Log, choice: Actions) -> Overlap:
    """choice: `(n,)`, the column that the candidate takes, which must be feasible: ValueError else."""
    chances = log.propensities[np.arange(len(log)), choice]
    if np.isnan(chances).any():
        raise ValueError("expected the candidate to choose among the experts that could have been chosen")
    supported = (chances > 0) & (log.feedback_rates[choice] > 0)
    weights = (log.scored & (log.actions == choice)) / (log.logged * np.maximum(log.feedback_rates[log.actions], 1e-12))
    chosen, unsupported = _counts(log, choice), _counts(log, choice[~supported])
    size = effective_sample_size(weights)
    return Overlap(
        supported=supported,
        effective_sample_size=size,
        max_weight=float(weights.max()),
        chosen=chosen,
        unsupported=unsupported,
        warnings=tuple(_warnings(unsupported, size, len(log), float(weights.max() / max(weights.sum(), 1.0)))),
    )


def _counts(log: Log, choice: Actions) -> dict[str, int]:
    """By expert that is chosen at all, the most frequent first."""
    counts = np.bincount(choice, minlength=len(log.experts))
    return {log.experts[i]: int(counts[i]) for i in np.argsort(-counts, kind="stable") if counts[i]}


def _warnings(unsupported: Mapping[str, int], size: float, n: int, largest_share: float) -> Iterator[str]:
    for name, count in unsupported.items():
        yield f"the candidate would have chosen {name} {count:,} times where it was never asked: nothing is known about those"
    if size < SMALL_SHARE * n:
        yield f"{n:,} decisions say no more of the candidate than {size:,.0f} of its own would"
    if largest_share > LARGE_WEIGHT:
        yield f"one decision counts for {largest_share:.0%} of what is known of the candidate"
