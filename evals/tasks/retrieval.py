"""Retrieval, from a folder in BEIR's format (arXiv 2104.08663): what an embedding expert ranks first, by nDCG@10.

    task = beir("scifact", Path("scifact"))       # corpus.jsonl, queries.jsonl, qrels/test.tsv

All texts of the corpus are embedded by the model (a policy keeps one expert for all of them), then each query; the ten most similar
texts are its answer. nDCG@10 has linear gains, as BEIR's own has (Järvelin and Kekäläinen 2002), a text that is the query itself
doesn't count, and queries without a relevant text are left out. Texts are cut to what the model reads, with no prefix before them.
Each query bears its share of what the corpus costs.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from evals.tasks.base import Ask, Calls, Grade, Said, TaskItem, distinct, sample, text_turn
from evals.tasks.reading import read_rows
from orchestrator.errors import DataError
from orchestrator.labelling.base import Asks
from orchestrator.labelling.collecting import each
from routers.base import FloatArray

DEPTH = 10
BATCH = 32
_AT_ONCE = 4


class Text(msgspec.Struct):
    """A line of `corpus.jsonl`, or of `queries.jsonl`."""

    id: str = msgspec.field(name="_id")
    text: str
    title: str = ""

    @property
    def whole(self) -> str:
        return f"{self.title} {self.text}".strip()


@dataclass(frozen=True, slots=True)
class RetrievalTask:
    """corpus: text by id. relevance: above 0, by text's id, by query's id."""

    name: str
    items: Sequence[TaskItem]
    corpus: Mapping[str, str]
    relevance: Mapping[str, Mapping[str, int]]
    kind: Literal["embedding"] = "embedding"

    def limited(self, limit: int) -> RetrievalTask:
        return replace(self, items=sample(self.items, limit))

    async def begin(self, model: str, calls: Calls) -> Ask:
        ids, texts = np.array(list(self.corpus)), list(self.corpus.values())
        parts: dict[int, FloatArray] = {}
        cost_usd = 0.0

        async def embed(start: int) -> None:
            nonlocal cost_usd
            batch = texts[start : start + BATCH]
            parts[start], said = await calls.embed(model, f"{self.name}/corpus", batch)
            cost_usd += said.cost_usd

        await each(range(0, len(texts), BATCH), embed, at_once=_AT_ONCE)
        vectors = _unit(np.concatenate([parts[start] for start in sorted(parts)]))

        async def ask(item: TaskItem) -> tuple[Said, ...]:
            query, said = await calls.embed(model, f"{self.name}/{item.id}", [item.query])
            order = np.argsort(-(vectors @ _unit(query)[0]), kind="stable")
            found = [str(ids[i]) for i in order[: DEPTH + 1] if ids[i] != item.id][:DEPTH]
            share_usd = said.cost_usd + cost_usd / len(self.items)
            return (replace(said, text=msgspec.json.encode(found).decode(), cost_usd=share_usd),)

        return ask

    async def grader(self, asks: Asks) -> Grade:
        return partial(_grade, self.relevance)


def beir(name: str, folder: Path) -> RetrievalTask:
    """Raises `DataError` that names file, line and what was expected."""
    corpus = {row.id: row.whole for _, row in read_rows(folder / "corpus.jsonl", Text)}
    judged = read_qrels(folder / "qrels" / "test.tsv", corpus)
    rows = read_rows(folder / "queries.jsonl", Text)
    items = [TaskItem(row.id, (text_turn(row.whole, line, name),)) for line, row in rows if row.id in judged]
    return RetrievalTask(name, distinct(items, folder / "queries.jsonl"), corpus, judged)


def read_qrels(path: Path, corpus: Mapping[str, str]) -> Mapping[str, Mapping[str, int]]:
    """Relevance above 0 by query and text: three columns under a header, between tabs."""
    relevance: defaultdict[str, dict[str, int]] = defaultdict(dict)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            next(lines, None)
            for line in lines:
                _note(line, f"{path}:{lines.line_num}", corpus, relevance)
    except OSError as exc:
        raise DataError(f"{path}: can't be read: {exc.strerror}") from exc
    return relevance


def ndcg(found: Sequence[str], relevance: Mapping[str, int], depth: int = DEPTH) -> float:
    """Normalised discounted cumulative gain of a ranking, 0..1; `relevance` is of all texts that have any."""
    best = sorted(relevance.values(), reverse=True)
    return _dcg([relevance.get(id_, 0) for id_ in found[:depth]]) / _dcg(best[:depth])


async def _grade(relevance: Mapping[str, Mapping[str, int]], item: TaskItem, said: Sequence[Said]) -> float | None:
    return ndcg(msgspec.json.decode(said[0].text or "[]", type=list[str]), relevance[item.id])


def _note(line: list[str], place: str, corpus: Mapping[str, str], into: dict[str, dict[str, int]]) -> None:
    if len(line) != 3 or not line[2].strip().lstrip("-").isdigit():
        raise DataError(f"{place}: expected query-id, corpus-id and a whole number between tabs")
    query, text, score = line
    if text not in corpus:
        raise DataError(f"{place}: expected the id of a text of corpus.jsonl, got '{text}'")
    if int(score) > 0:
        into[query][text] = int(score)


def _dcg(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def _unit(vectors: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: FloatArray = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit
