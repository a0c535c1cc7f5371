"""Do the intervals hold what they promise? Logs are drawn from worlds whose every value is known, and evaluated many times.

    for row in simulate(num_logs=500, num_decisions=20_000):
        row.coverage, row.promoted               # 0.95 of the intervals hold the truth; how often the candidate was promoted

A world has queries with a chance of success for each expert; a log draws queries from it, experts by the live policy's
propensities, and rewards by their chances. Candidates are better than what is live, exactly as good, and a little worse: of the
last two every promotion is wrong. `python -m evals.bench offpolicy` prints the rows. Not here: real decisions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from evals.offpolicy.comparing import compare
from evals.offpolicy.estimators import Actions, Array, Estimate, doubly_robust, interval, ips, sndr, snips
from evals.offpolicy.logs import Log, leave_one_out
from evals.offpolicy.power import power

NUM_QUERIES = 50_000
NUM_EXPERTS = 4
FLOOR = 0.02
"""Propensity that every expert has at least under the softmax of scores."""
WORSE_BY = 0.005


@dataclass(frozen=True)
class World:
    """chances: `(n_queries, n_experts)` of success. propensities: of the live policy. feedback: `(n_experts,)` chance of feedback.

    candidates: `(n_queries,)` choices by name.
    """

    name: str
    chances: Array
    propensities: Array
    feedback: Array
    candidates: Mapping[str, Actions]

    @property
    def live(self) -> float:
        """What the live policy earns on average."""
        return float((self.chances * self.propensities).sum(axis=1).mean())

    def value(self, choice: Actions) -> float:
        """What a choice earns on average."""
        return float(self.chances[np.arange(len(choice)), choice].mean())


@dataclass(frozen=True, slots=True)
class Row:
    """What `logs` logs of a world said of a candidate. truth, bias, width: of the difference that `compare` gives, or of the
    value that an estimator does; coverage: share of the 95% intervals that hold the truth.

    promoted: share of the logs by which it was; expected: what `power` predicts of that share, where the candidate is better.
    """

    world: str
    candidate: str
    estimator: str
    logs: int
    truth: float
    bias: float
    width: float
    coverage: float
    promoted: float | None = None
    expected: float | None = None


def simulate(*, num_logs: int = 500, num_decisions: int = 20_000, seed: int = 0) -> Iterator[Row]:
    """Rows of every world, candidate and estimator."""
    for i, world in enumerate(worlds(seed)):
        logs = list(_evaluated(world, num_logs, num_decisions, seed=1000 * (seed + 1) + i))
        for candidate, choice in world.candidates.items():
            truth = world.value(choice) - world.live
            found = [log[candidate] for log in logs]
            promoted = float(np.mean([verdict == "promote" for _, verdict in found]))
            yield _row(world, candidate, "difference", truth, np.array([numbers for numbers, _ in found]), promoted)
        for estimator in ESTIMATORS:
            numbers = np.array([log[f"{estimator} of better"][0] for log in logs])
            yield _row(world, "better", estimator, world.value(world.candidates["better"]), numbers)


def worlds(seed: int = 0) -> Iterator[World]:
    """Softmax of scores with a floor, with feedback on all and on some answers; and exploration among near-ties, as in serving."""
    dice = np.random.default_rng(seed)
    talents = dice.normal(size=(NUM_QUERIES, NUM_EXPERTS))
    chances = 1.0 / (1.0 + np.exp(-(np.array([0.6, 0.4, 0.2, 0.0]) + 1.2 * talents)))
    scores = chances + dice.normal(scale=0.2, size=chances.shape)
    soft = np.exp((scores - scores.max(axis=1, keepdims=True)) / 0.1)
    soft = FLOOR + (1.0 - NUM_EXPERTS * FLOOR) * soft / soft.sum(axis=1, keepdims=True)
    ties = scores >= scores.max(axis=1, keepdims=True) - 0.15
    near = 0.8 * (scores == scores.max(axis=1, keepdims=True)) + 0.2 * ties / ties.sum(axis=1, keepdims=True)
    always, sometimes = np.ones(NUM_EXPERTS), np.array([0.6, 0.4, 0.3, 0.2])
    for name, propensities, feedback in (
        ("softmax", soft, always),
        ("softmax, some feedback", soft, sometimes),
        ("near-ties", near, always),
    ):
        yield World(name, chances, propensities, feedback, _candidates(chances, propensities, dice))


def _candidates(chances: Array, propensities: Array, dice: np.random.Generator) -> dict[str, Actions]:
    """All choose where the live policy might; the second earns what it earns, to a hundred-thousandth."""
    live = float((chances * propensities).sum(axis=1).mean())
    possible = propensities > 0
    noisy = chances + dice.normal(scale=0.2, size=chances.shape)
    order = dice.permutation(len(chances))
    best, worst = (np.where(possible, sign * chances, -np.inf).argmax(axis=1) for sign in (1, -1))
    rows = np.arange(len(chances))
    gains = np.cumsum((chances[rows, best] - chances[rows, worst])[order]) / len(chances)

    def earning(value: float) -> Actions:
        """The best expert for as many queries as it takes, the worst for the others."""
        count = int(np.searchsorted(gains, value - chances[rows, worst].mean()))
        choice: Actions = worst.copy()
        choice[order[:count]] = best[order[:count]]
        return choice

    better: Actions = np.where(possible, noisy, -np.inf).argmax(axis=1)
    return {"better": better, "equal": earning(live), "worse": earning(live - WORSE_BY)}


def draw(world: World, num_decisions: int, dice: np.random.Generator) -> tuple[Log, Actions]:
    """A log, and which queries of the world it is of, `(num_decisions,)`."""
    queries: Actions = dice.integers(0, len(world.chances), num_decisions)
    propensities = world.propensities[queries]
    reached = propensities.cumsum(axis=1) >= dice.random((num_decisions, 1)) * propensities.sum(axis=1, keepdims=True)
    actions = reached.argmax(axis=1)
    rewards = (dice.random(num_decisions) < world.chances[queries, actions]).astype(np.float64)
    rewards[dice.random(num_decisions) >= world.feedback[actions]] = np.nan
    names = tuple(f"expert {i}" for i in range(propensities.shape[1]))
    texts = ("",) * num_decisions
    return Log(texts, names, actions, rewards, np.zeros(num_decisions), propensities), queries


Numbers = tuple[float, float, float, float]
"""Estimate, low end, high end, and the power to see `WORSE_BY` or the true difference."""


def _evaluated(world: World, num_logs: int, num_decisions: int, seed: int) -> Iterator[dict[str, tuple[Numbers, str]]]:
    """Of each log, what it says by candidate and by estimator."""
    dice = np.random.default_rng(seed)
    for _ in range(num_logs):
        log, queries = draw(world, num_decisions, dice)
        found: dict[str, tuple[Numbers, str]] = {}
        for name, choice in world.candidates.items():
            compared = compare(log, np.eye(NUM_EXPERTS)[choice[queries]])
            span = compared.difference
            truth = max(abs(world.value(choice) - world.live), 1e-9)
            numbers = (span.mean, span.low, span.high, power(compared.differences, truth))
            found[name] = numbers, compared.verdict
        for estimator, estimate in _estimates(log, world.candidates["better"][queries]).items():
            found[f"{estimator} of better"] = (estimate.value, estimate.low, estimate.high, np.nan), ""
        yield found


ESTIMATORS = ("ips", "snips", "doubly robust", "sndr")


def _estimates(log: Log, choice: Actions) -> dict[str, Estimate]:
    chances = log.logged * np.where(log.scored, log.feedback_rates[log.actions], 1.0)
    policy = np.eye(NUM_EXPERTS)[choice]
    taken = (log.actions == choice).astype(np.float64)
    model = leave_one_out(log.actions, log.rewards, chances, NUM_EXPERTS)
    return {
        "ips": ips(log.rewards, chances, taken),
        "snips": snips(log.rewards, chances, taken),
        "doubly robust": doubly_robust(log.rewards, chances, log.actions, model, policy),
        "sndr": sndr(log.rewards, chances, log.actions, model, policy),
    }


def _row(
    world: World, candidate: str, estimator: str, truth: float, numbers: Array, promoted: float | None = None
) -> Row:
    values, low, high, expected = numbers.T
    return Row(
        world=world.name,
        candidate=candidate,
        estimator=estimator,
        logs=len(numbers),
        truth=truth,
        bias=interval(values).mean - truth,
        width=float((high - low).mean()),
        coverage=float(((low <= truth) & (truth <= high)).mean()),
        promoted=promoted,
        expected=float(expected.mean()) if promoted is not None and truth > WORSE_BY else None,
    )
