"""Experts known by K labelled examples per task: which are taken on, what each is good at, and how a new one joins.

    router = KshotRouter(encoder=encoder, shots=50).fit(outcomes)
    router.add_expert(card, fifty_outcomes)                     # routed to from now on, nothing is refitted
    recruit(rewards, 3, confidence=log_probabilities)           # columns of the three to take on

Leveraging Open Knowledge for Advancing Task Expertise in Large Language Models, arXiv 2408.15915: K examples of a task choose the
experts for it, by what they earn there, how sure they are (the paper's reasoning perplexity), and how much the chosen differ.
Queries are cheap and answers are not: the task of a query is classified from all queries (their groups, or clusters), while an
expert's profile is its mean reward on `shots` examples of each task, drawn towards its mean over all tasks. A newcomer's is drawn
towards a mixture of the known experts that do like it on its examples, or by description until there are some.
Not here: mixing the chosen experts' weights, which the paper goes on to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Encoder, ExpertCard, FloatArray, Outcome
from routers.data.table import RewardTable
from routers.families.learned import LearnedRouter
from routers.parts.categories import Classifier, category_labels, fit_classifier
from routers.parts.regions import one_hot, shrunk_means

MIXTURE_ROWS = 10.0
"""How many examples the likeness of descriptions counts for, in a newcomer's mixture."""


class KshotRouter(LearnedRouter):
    """shots: labelled examples used per task. pseudo_rows: how many an expert's mean counts for. seed: of which examples."""

    type = "kshot"
    has_std = True
    classifier_: Classifier
    profiles_: FloatArray
    """`(n_tasks, n_experts)`: expected reward."""
    errors_: FloatArray
    """`(n_tasks, n_experts)`: its standard error."""

    def __init__(
        self,
        *,
        experts: Sequence[ExpertCard] = (),
        encoder: Encoder,
        shots: Annotated[int, Field(ge=1)] = 50,
        pseudo_rows: Annotated[float, Field(gt=0)] = 20.0,
        seed: int = 0,
    ) -> None:
        self.experts = experts
        self.encoder = encoder
        self.shots = shots
        self.pseudo_rows = pseudo_rows
        self.seed = seed

    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        tasks = category_labels(table, vectors, None, self.seed)
        self.classifier_ = fit_classifier(vectors, tasks)
        rows = shots_per_task(tasks, self.shots, self.seed)
        examples = table.rows(rows)
        memberships = one_hot(tasks[rows], int(tasks.max()) + 1)
        self.profiles_, self.errors_ = shrunk_means(examples, memberships, examples.means, self.pseudo_rows)

    def predict_vectors(self, vectors: FloatArray) -> FloatArray:
        expected: FloatArray = self.classifier_(vectors) @ self.profiles_
        return expected

    def std_vectors(self, vectors: FloatArray) -> FloatArray:
        """Of the profiles, and of which task it is: `E[error^2] + Var[profile]` over the tasks."""
        shares = self.classifier_(vectors)
        squares = shares @ (self.errors_**2 + self.profiles_**2) - (shares @ self.profiles_) ** 2
        deviations: FloatArray = np.sqrt(np.maximum(squares, 0.0))
        return deviations

    def add_expert(self, card: ExpertCard, outcomes: Sequence[Outcome] = ()) -> None:
        """See `LearnedRouter.add_expert`; other experts' rewards in the outcomes help to find which of them it is like."""
        if card.name in self.experts_:
            raise ValueError(f"the router knows the expert '{card.name}' already")
        own = RewardTable.of(outcomes, [card.name])
        prior = self.profiles_ @ self._likeness(card)
        memberships = np.empty((0, len(prior)), dtype=np.float32)
        if len(own):
            memberships = self.classifier_(self.encode(own.queries))
            tried = [outcome for outcome in outcomes if card.name in outcome.rewards]
            prior = self._mixture(own.rewards[:, 0], self._known_rewards(tried, memberships), self._likeness(card))
        profile, errors = shrunk_means(own, memberships, prior[:, None], self.pseudo_rows)
        self.profiles_ = np.hstack([self.profiles_, profile])
        self.errors_ = np.hstack([self.errors_, errors])
        self.fitted_experts_ = (*self.fitted_experts_, card.name)

    def _known_rewards(self, outcomes: Sequence[Outcome], memberships: FloatArray) -> FloatArray:
        """`(n_outcomes, n_experts)`: the rewards, or what the profiles expect of those that were not tried."""
        expected = memberships @ self.profiles_
        for row, outcome in enumerate(outcomes):
            for column, name in enumerate(self.fitted_experts_):
                expected[row, column] = outcome.rewards.get(name, expected[row, column])
        return expected

    def _mixture(self, rewards: FloatArray, known: FloatArray, likeness: FloatArray) -> FloatArray:
        """The newcomer's expected profile `(n_tasks,)`: ridge regression of its rewards on the known experts', from `likeness`."""
        centred = known - known.mean(axis=0)
        above = rewards - known @ likeness
        gram = centred.T @ centred + MIXTURE_ROWS * np.eye(len(likeness))
        weights = likeness + np.linalg.solve(gram, centred.T @ (above - above.mean()))
        constant = (rewards - known @ weights).sum() / (len(rewards) + MIXTURE_ROWS)
        profile: FloatArray = np.clip(self.profiles_ @ weights + constant, 0.0, 1.0).astype(np.float32)
        return profile


def shots_per_task(tasks: NDArray[np.intp], shots: int, seed: int = 0) -> NDArray[np.intp]:
    """Row numbers, in order: up to `shots` of each of `tasks (n,)`, by chance."""
    dice = np.random.default_rng(seed)
    rows = [dice.permutation(np.flatnonzero(tasks == task))[:shots] for task in np.unique(tasks)]
    return np.sort(np.concatenate(rows))


def recruit(
    rewards: FloatArray, count: int, *, confidence: FloatArray | None = None, diversity: float = 0.5
) -> tuple[int, ...]:
    """Columns of the experts to take on, at most `count`, the first choice first, from `rewards (k, n_experts)` on K examples.

    One by one the expert is taken with the highest sum of mean reward and mean `confidence (n_experts,)` (any unit: a mean
    log-probability, say), both standardised over the experts, and `diversity` times one less the highest correlation of its
    rewards with those of one already taken. A reward that is NaN counts as the expert's mean.
    """
    means = np.nanmean(rewards, axis=0)
    filled = np.where(np.isnan(rewards), means, rewards)
    merit = _standardised(means) + (0.0 if confidence is None else _standardised(confidence))
    deviations = filled - means
    lengths = np.maximum(np.linalg.norm(deviations, axis=0), 1e-9)
    correlations = (deviations.T @ deviations) / np.outer(lengths, lengths)
    taken: list[int] = []
    for _ in range(min(count, len(means))):
        likeness = correlations[:, taken].max(axis=1) if taken else np.zeros(len(means))
        value = merit + diversity * (1.0 - likeness)
        value[taken] = -np.inf
        taken.append(int(value.argmax()))
    return tuple(taken)


def _standardised(values: FloatArray) -> FloatArray:
    scaled: FloatArray = (values - values.mean()) / max(float(values.std()), 1e-9)
    return scaled
