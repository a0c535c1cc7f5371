"""From outcomes to an artifact: hold some out, fit, judge by what was held out, fit on all, and write it if it is worth it.

    trained = train(table, TrainingSettings("linear", seed=0), encoder=encoder)
    trained.evaluation.gain                           # Interval(0.03, 0.01, 0.05) over the best single expert
    write_trained(trained, Path("artifacts/support"))

A router whose mean on the held-out queries is below that of the best single expert is not written unless it is forced: what was
held out is the only evidence there is, and the best single expert needs no router. One whose interval still holds 0 is
written, and its card says so. Everything follows from the outcomes, the settings and the encoder.
Not here: reading files (`routers/data/loading.py`), the command (`orchestrator/commands/training.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from routers.artifact import save_artifact
from routers.base import Encoder, ExpertCard, FloatArray, Outcome, Router
from routers.data.costs import CostModel
from routers.data.table import RewardTable
from routers.encoders.cache import uncached
from routers.families.learned import EncodedRouter
from routers.registry import make_router, router_class
from routers.training.card import model_card
from routers.training.evaluation import Choice
from routers.training.holding_out import HeldOut, hold_out
from routers.training.judging import (
    Progress,
    caveats,
    decision_time,
    encode,
    expected_rewards,
    make_prices,
    quiet,
)
from routers.training.report import Evaluation, Prices, as_json, evaluate
from routers.training.yardsticks import TrainingSummary, Yardsticks

TOLERANCE = 1e-6
"""A mean this little below the best single expert's is the same, but for rounding."""


class WorseThanBestSingle(ValueError):
    """The router earns less on the held-out queries than the best single expert does."""


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """type, parameters: as in the registry. folds: cross-validate instead of one split. lambda_: reward given up per US cent.

    seed: of the split, of the intervals, and of the router where it has one. usd_per_unit: of costs that aren't in USD.
    """

    type: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    folds: int | None = None
    lambda_: float = 0.0
    usd_per_unit: float | None = None

    def make(self, experts: Sequence[ExpertCard], encoder: Encoder) -> Router:
        """A router that is not fitted yet. Raises ValueError for an unknown type or a wrong parameter."""
        own = {"seed": self.seed} if "seed" in inspect.signature(router_class(self.type)).parameters else {}
        return make_router(
            self.type, experts=experts, encoder=uncached(encoder), parameters=own | dict(self.parameters)
        )


@dataclass(frozen=True, slots=True)
class Trained:
    """router: fitted on all that may be trained on; evaluation: of routers fitted without what they were judged by."""

    router: Router
    costs: CostModel | None
    evaluation: Evaluation
    summary: TrainingSummary
    settings: TrainingSettings
    how: str
    notes: tuple[str, ...]

    @property
    def objection(self) -> str | None:
        """Why it should not be written: the best single expert is the better choice, going by the held-out queries."""
        gain = self.evaluation.deciding_gain
        if gain is None or gain.mean >= -TOLERANCE:
            return None
        unit, rival = "reward", f"the best single expert, '{self.evaluation.best_single}'"
        if self.evaluation.utility is not None:
            unit, rival = "utility", "the single expert that was best by utility"
        return (
            f"on the held-out queries this router earns {-gain.mean:.4f} {unit} less than {rival} "
            f"(95%: {gain.low:+.4f} to {gain.high:+.4f}); --force writes it all the same"
        )


def train(
    table: RewardTable,
    settings: TrainingSettings,
    *,
    encoder: Encoder,
    cards: Sequence[ExpertCard] = (),
    progress: Progress = quiet,
) -> Trained:
    """cards: what is declared of the experts; those the outcomes don't have are ignored. encoder: may be a cached one.

    Raises ValueError for settings that are wrong and for outcomes that are too few.
    """
    held = hold_out(table, folds=settings.folds, seed=settings.seed)
    _prices(held.table, held.table, settings)  # what is wrong with costs is told before anything is computed
    fitter = _Fitter(settings, encoder, cards, held.table)
    fitter.read(progress)
    router, evaluation = _judged(held, fitter, progress)
    final = held.table.rows(held.final)
    if not held.is_given:
        progress("fitting on all", 0, 1)
        router = fitter.fitted(held.final)
    notes = (*held.notes, *caveats(evaluation), *_doubts(evaluation))
    costs = CostModel.fit(final, usd_per_unit=settings.usd_per_unit)
    return Trained(router, costs, evaluation, TrainingSummary.of(final), settings, held.how, notes)


def write_trained(trained: Trained, folder: Path, *, force: bool = False) -> str:
    """The artifact's fingerprint. Raises `WorseThanBestSingle` unless `force`, and ArtifactError for a folder of something else."""
    if trained.objection is not None and not force:
        raise WorseThanBestSingle(f"{folder}: is not written: {trained.objection}")
    # Without the times, which differ by machine: the same outcomes and settings make the same artifact.
    timeless = replace(trained.evaluation, decision_ms=None)
    metrics = {
        "training": asdict(trained.summary),
        "held_out": as_json(timeless),
        "how": trained.how,
        "notes": list(trained.notes),
    }
    card = model_card(
        trained.router, trained.evaluation, trained.summary, asdict(trained.settings), trained.how, trained.notes
    )
    return save_artifact(folder, trained.router, costs=trained.costs, metrics=metrics, card=card)


@dataclass
class _Fitter:
    """Fits the same kind of router on different rows, with the texts read once."""

    settings: TrainingSettings
    encoder: Encoder
    cards: Sequence[ExpertCard]
    table: RewardTable
    vectors: FloatArray | None = None

    def read(self, progress: Progress) -> None:
        """Encode the texts, if the router is one that takes vectors."""
        router = self.settings.make((), self.encoder)
        if isinstance(router, EncodedRouter):
            self.vectors = encode(router, self.table.queries, self.encoder, progress)

    def fitted(self, rows: Choice) -> Router:
        declared = {card.name: card for card in self.cards}
        cards = [declared.get(name, ExpertCard(name)) for name in self.table.experts]
        router, part = self.settings.make(cards, self.encoder), self.table.rows(rows)
        if isinstance(router, EncodedRouter) and self.vectors is not None:
            return router.fit_encoded(part, self.vectors if len(rows) == len(self.table) else self.vectors[rows])
        return router.fit(_outcomes(part))


def _judged(held: HeldOut, fitter: _Fitter, progress: Progress) -> tuple[Router, Evaluation]:
    """The router of the last part, and all parts' held-out queries judged together."""
    settings, experts = fitter.settings, held.table.experts
    predictions, cents = (np.full(held.table.rewards.shape, np.nan, dtype=np.float32) for _ in range(2))
    yardsticks, rate = Yardsticks.empty(len(held.table)), 0.0
    for i, (fit_on, judge_by) in enumerate(held.parts):
        progress("fitting", i, len(held.parts))
        router = fitter.fitted(fit_on)
        fitted_on, judged_by = held.table.rows(fit_on), held.table.rows(judge_by)
        if (prices := _prices(fitted_on, judged_by, settings)) is not None:
            cents[judge_by], rate = prices.expected, prices.cents_per_unit
        yardsticks.put(judge_by, _yardsticks(fitted_on, judged_by, settings.lambda_ * rate))
        vectors = None if fitter.vectors is None else fitter.vectors[judge_by]
        predictions[judge_by] = expected_rewards(router, judged_by.queries, experts, vectors=vectors)
    rows = np.flatnonzero(~np.isnan(predictions[:, 0]))
    table = held.table.rows(rows)
    return router, evaluate(
        predictions[rows],
        table,
        yardsticks.rows(rows),
        prices=Prices(settings.lambda_, cents[rows], rate) if settings.lambda_ else None,
        decision_ms=decision_time(router, table.queries),
        seed=settings.seed,
    )


def _yardsticks(fitted_on: RewardTable, judged_by: RewardTable, unit_price: float) -> Yardsticks:
    found = TrainingSummary.of(fitted_on).yardsticks(judged_by, unit_price=unit_price)
    assert found is not None, "every expert was tried on what was fitted on"
    return found


def _prices(fitted_on: RewardTable, judged_by: RewardTable, settings: TrainingSettings) -> Prices | None:
    costs = CostModel.fit(fitted_on, usd_per_unit=settings.usd_per_unit)
    return make_prices(costs, judged_by, lambda_=settings.lambda_, usd_per_unit=settings.usd_per_unit)


def _doubts(evaluation: Evaluation) -> list[str]:
    """What the held-out queries leave open."""
    gain = evaluation.deciding_gain
    if len(evaluation.share) == 1:
        return ["there is one expert: nothing to route"]
    if gain is not None and gain.low <= 0.0 <= gain.high:
        return ["not shown to be better than the best single expert: the interval of the gain holds 0"]
    return []


def _outcomes(table: RewardTable) -> list[Outcome]:
    """For routers that take no table."""
    return [
        Outcome(
            query,
            {name: float(r) for name, r in zip(table.experts, rewards, strict=True) if not np.isnan(r)},
            group=group,
            propensity=dict(zip(table.experts, (1.0 / weights).tolist(), strict=True)),
        )
        for query, group, rewards, weights in zip(
            table.queries, table.groups, table.rewards, table.weights, strict=True
        )
    ]
