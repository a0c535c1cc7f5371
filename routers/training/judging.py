"""A fitted router put to outcomes: what it expects of every expert, how fast, and how that compares.

    judged = judge(load_artifact(folder, encoders=encoders), test)
    judged.evaluation.gain, judged.notes

Experts that only one of router and outcomes knows don't take part, and a note says so. Not here: fitting (`fitting.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import TypeAdapter, ValidationError

from routers.artifact import Artifact
from routers.base import Encoder, FloatArray, Router
from routers.data.costs import CostModel
from routers.data.table import RewardTable
from routers.families.learned import EncodedRouter
from routers.training.report import DecisionTime, Evaluation, Prices, evaluate
from routers.training.yardsticks import TrainingSummary, fingerprint

BATCH = 256
TIMED_QUERIES = 200
FEW = 50
"""With fewer queries than this, a note says that the numbers mean little."""

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and out of how much."""


def quiet(stage: str, done: int, total: int) -> None:
    """Nobody is watching."""


@dataclass(frozen=True, slots=True)
class Judged:
    """notes: what the reader of the numbers must know."""

    evaluation: Evaluation
    notes: tuple[str, ...]


def judge(
    artifact: Artifact,
    table: RewardTable,
    *,
    lambda_: float = 0.0,
    usd_per_unit: float | None = None,
    reader: Encoder | None = None,
    seed: int = 0,
    progress: Progress = quiet,
) -> Judged:
    """The router of an artifact on other outcomes; best single and group-best are those of its training data.

    reader: a cache of the router's encoder, to read the texts with.
    Raises ValueError when router and outcomes have no expert in common, or when `lambda_` is asked for and costs are not known.
    """
    router, summary = artifact.router, training_summary(artifact)
    tried = [name for name, column in zip(table.experts, table.tried.T, strict=True) if column.any()]
    common, notes = common_experts(router.experts_, tried)
    table = table.only(common)
    prices = make_prices(artifact.costs, table, lambda_=lambda_, usd_per_unit=usd_per_unit)
    unit_price = prices.lambda_ * prices.cents_per_unit if prices else 0.0
    vectors = encode(router, table.queries, reader, progress) if isinstance(router, EncodedRouter) and reader else None
    predictions = expected_rewards(router, table.queries, table.experts, vectors=vectors, progress=progress)
    evaluation = evaluate(
        predictions,
        table,
        None if summary is None else summary.yardsticks(table, unit_price=unit_price),
        prices=prices,
        decision_ms=decision_time(router, table.queries),
        seed=seed,
    )
    if summary and summary.fingerprint == fingerprint(table):
        notes.append("these are the outcomes that the router was trained on: on others it does worse")
    return Judged(evaluation, (*notes, *caveats(evaluation)))


def expected_rewards(
    router: Router,
    queries: Sequence[str],
    experts: Sequence[str],
    *,
    vectors: FloatArray | None = None,
    progress: Progress = quiet,
) -> FloatArray:
    """`(n_queries, n_experts)`, columns as `experts`. vectors: the queries', where they are at hand."""
    columns = [router.experts_.index(name) for name in experts]
    parts = []
    for start in range(0, len(queries), BATCH):
        progress("routing", start, len(queries))
        stop = start + BATCH
        if vectors is not None and isinstance(router, EncodedRouter):
            parts.append(router.predict_encoded(vectors[start:stop]))
        else:
            parts.append(router.predict(queries[start:stop]))
    return np.concatenate(parts)[:, columns]


def encode(
    router: EncodedRouter, queries: Sequence[str], reader: Encoder | None = None, progress: Progress = quiet
) -> FloatArray:
    """What the router reads of the queries, `(n_queries, router.dimensions)`, a batch at a time."""
    vectors = np.empty((len(queries), router.dimensions), dtype=np.float32)
    for start in range(0, len(queries), BATCH):
        progress("reading texts", start, len(queries))
        vectors[start : start + BATCH] = router.encode(queries[start : start + BATCH], reader)
    return vectors


def decision_time(router: Router, queries: Sequence[str]) -> DecisionTime:
    """Of queries one at a time, spread over all of them, after a few to warm up."""
    step = max(1, len(queries) // TIMED_QUERIES)
    timed = queries[::step][:TIMED_QUERIES]
    for query in timed[:5]:
        router.predict([query])
    seconds = []
    for query in timed:
        started = time.perf_counter()
        router.predict([query])
        seconds.append(time.perf_counter() - started)
    p50, p99 = 1e3 * np.percentile(seconds, [50, 99])
    return DecisionTime(float(p50), float(p99))


def make_prices(
    costs: CostModel | None, table: RewardTable, *, lambda_: float, usd_per_unit: float | None
) -> Prices | None:
    """None with a lambda of 0. Raises ValueError when lambda is to count and costs, or their worth, are not known."""
    if not lambda_:
        return None
    if table.cost_unit != "usd" and usd_per_unit is None:
        raise ValueError(
            f"lambda is reward per US cent, and costs are in '{table.cost_unit}': say with --usd-per-unit what one is worth"
        )
    if costs is None:
        raise ValueError("lambda needs costs, and no outcome has one")
    rate = 1.0 if table.cost_unit == "usd" else usd_per_unit or 0.0
    return Prices(lambda_, costs.predict(table.queries, table.experts), 100.0 * rate)


def training_summary(artifact: Artifact) -> TrainingSummary | None:
    """What the artifact knows of its training data; None for one that was not written by `switchyard train`."""
    try:
        return TypeAdapter(TrainingSummary).validate_python(artifact.metrics.get("training"))
    except ValidationError:
        return None


def caveats(evaluation: Evaluation) -> list[str]:
    """What the reader of the numbers must know."""
    notes = [f"judged by {evaluation.n} queries: intervals of so few are too narrow"] if evaluation.n < FEW else []
    if evaluation.num_tried < evaluation.n:
        notes.append(
            f"the router's choice was tried on {evaluation.num_tried:,} of {evaluation.n:,} queries; "
            "elsewhere what it would have earned is estimated"
        )
    return notes


def common_experts(routed: Sequence[str], tried: Sequence[str]) -> tuple[list[str], list[str]]:
    """Experts that both know, in the router's order, and notes on those that only one does."""
    common = [name for name in routed if name in tried]
    if not common:
        raise ValueError(
            f"the router's experts are {', '.join(routed)}; the outcomes have {', '.join(tried)}, none of them"
        )
    notes = []
    if unknown := [name for name in tried if name not in routed]:
        notes.append(f"unknown to the router and left out: {', '.join(unknown)}")
    if absent := [name for name in routed if name not in tried]:
        notes.append(f"not in these outcomes, so never chosen here: {', '.join(absent)}")
    return common, notes
