"""A depth for a trained router, and what it earns on queries that it was not chosen by.

    advised = advise(load_artifact(folder, encoders=encoders), table, budget=2.0)
    advised.depth                                      # Depth(sure=0.61, top_p=0.1): what the policy is given
    advised.reward, advised.calls, advised.gain        # with 95% intervals; the gain is over one expert alone

Each fold is judged by a depth that the other folds chose. A router that was trained on these very outcomes would be too sure on
them: there, each fold gets the expectations of a router fitted like it on the others. Not here: the rules (`routers/depth.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from routers.artifact import Artifact
from routers.base import Encoder, FloatArray
from routers.data.splits import fold_numbers
from routers.depth import Depth, choose_depth, replay
from routers.families.learned import EncodedRouter, LearnedRouter
from routers.fusing.table import AnswerTable, BoolArray, Rows
from routers.registry import make_router, parameters_of
from routers.training.evaluation import Interval, bootstrap, paired
from routers.training.judging import Progress, common_experts, encode, expected_rewards, quiet, training_summary
from routers.training.yardsticks import fingerprint

FOLDS = 5


@dataclass(frozen=True, slots=True)
class Advised:
    """reward, calls: of the depth, per query. alone: the reward of the best expert by the router. gain: over that."""

    depth: Depth
    n: int
    reward: Interval
    calls: Interval
    alone: Interval
    gain: Interval
    notes: tuple[str, ...]


def advise(
    artifact: Artifact,
    table: AnswerTable,
    *,
    quality: float | None = None,
    budget: float | None = None,
    panel: Sequence[str] = (),
    reader: Encoder | None = None,
    progress: Progress = quiet,
) -> Advised:
    """Chosen by all queries, and judged fold by fold. quality, budget, panel: as of `choose_depth`; the panel by names.

    reader: a cache of the router's encoder. Raises ValueError when a target can't be met, for members that router or outcomes don't
    know, and for outcomes of fewer queries than folds.
    """
    router = artifact.router
    tried = [name for name, column in zip(table.experts, table.tried.T, strict=True) if column.any()]
    common, notes = common_experts(router.experts_, tried)
    if unknown := [name for name in panel if name not in common]:
        raise ValueError(f"the panel's '{unknown[0]}' is unknown, expected some of {', '.join(common)}")
    table = table.only(common)
    folds = fold_numbers(table.reward_table(), FOLDS)
    vectors = encode(router, table.queries, reader, progress) if isinstance(router, EncodedRouter) else None
    summary = training_summary(artifact)
    is_known = summary is not None and summary.fingerprint == fingerprint(table.reward_table())
    if is_known and vectors is not None and isinstance(router, LearnedRouter):
        expected = _expected_without(router, table, vectors, folds, progress)
        notes.append("the router was trained on these outcomes: they are judged by others like it, fitted without them")
    else:
        expected = expected_rewards(router, table.queries, table.experts, vectors=vectors, progress=progress)
    columns = [table.experts.index(name) for name in panel]

    def choose(some: BoolArray) -> Depth:
        part = table.rows(some)
        return choose_depth(expected[some], part, quality=quality, budget=budget, panel=columns).depth

    rewards, calls = np.empty((2, len(table)), dtype=np.float32)
    for fold in range(FOLDS):
        unseen = folds == fold
        found = replay(expected[unseen], table.rows(unseen), choose(~unseen), panel=columns)
        rewards[unseen], calls[unseen] = found.rewards, found.calls
    alone = replay(expected, table, Depth(sure=0.0)).rewards
    means = bootstrap(rewards), bootstrap(calls), bootstrap(alone), paired(rewards, alone)
    return Advised(choose(np.ones(len(table), dtype=np.bool_)), len(table), *means, tuple(notes))


def _expected_without(
    router: LearnedRouter, table: AnswerTable, vectors: FloatArray, folds: Rows, progress: Progress
) -> FloatArray:
    """What routers like this one, each fitted without a fold, expect of it."""
    rewards, expected = table.reward_table(), np.empty(table.rewards.shape, dtype=np.float32)
    for fold in range(FOLDS):
        progress("fitting", fold, FOLDS)
        unseen = folds == fold
        fresh = make_router(router.type, experts=(), encoder=router.encoder, parameters=parameters_of(router))
        assert isinstance(fresh, LearnedRouter)
        fresh.fit_encoded(rewards.rows(~unseen), vectors[~unseen])
        expected[unseen] = fresh.predict_encoded(vectors[unseen])
    return expected
