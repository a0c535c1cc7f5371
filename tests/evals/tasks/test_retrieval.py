"""Retrieval in BEIR's format: a folder with a corpus, queries, and which texts are relevant."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.tasks.base import Said
from evals.tasks.registry import load_task
from evals.tasks.retrieval import BATCH, ndcg
from orchestrator.errors import DataError
from tests.support.bench import write_lines

RELEVANCE = st.dictionaries(st.sampled_from("abcdefghijkl"), st.integers(1, 3), min_size=1)


def folder_of(tmp_path, corpus, queries, qrels):
    folder = tmp_path / "tiny"
    write_lines(folder / "corpus.jsonl", [{"_id": id_, "title": "", "text": text} for id_, text in corpus.items()])
    write_lines(folder / "queries.jsonl", [{"_id": id_, "text": text, "metadata": {}} for id_, text in queries.items()])
    (folder / "qrels").mkdir()
    rows = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in qrels)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(rows) + "\n")
    return f"tiny@beir={folder}"


class Calls:
    """Embeds a text as the angle, in degrees, that it names; a text costs a thousandth."""

    def __init__(self):
        self.batches = []

    async def embed(self, model, purpose, texts):
        self.batches.append(len(texts))
        radians = np.radians([float(text) for text in texts])
        vectors = 3 * np.column_stack([np.cos(radians), np.sin(radians)]).astype(np.float32)
        return vectors, Said("", model, len(texts) / 1000)


async def answers(task, calls):
    ask, grade = await task.begin("m", calls), await task.grader(None)
    said = {item.id: await ask(item) for item in task.items}
    return said, {item.id: await grade(item, said[item.id]) for item in task.items}


async def test_texts_are_ranked_by_cosine_and_earn_ndcg(tmp_path):
    corpus = {f"d{angle}": str(angle) for angle in range(0, 90, 10)}
    written = folder_of(tmp_path, corpus, {"q": "41"}, [("q", "d40", 2), ("q", "d60", 1), ("q", "d0", 0)])
    said, rewards = await answers(load_task(written), Calls())
    assert said["q"][0].text.startswith('["d40","d50","d30","d60"')
    best = 2 + 1 / math.log2(3)
    assert rewards["q"] == pytest.approx((2 + 1 / math.log2(5)) / best)


async def test_the_corpus_goes_in_batches_and_its_cost_is_shared(tmp_path):
    corpus = {f"d{i}": str(i) for i in range(BATCH + 8)}
    queries = {"q1": "1", "q2": "2"}
    written = folder_of(tmp_path, corpus, queries, [("q1", "d1", 1), ("q2", "d2", 1)])
    calls = Calls()
    said, rewards = await answers(load_task(written), calls)
    assert sorted(calls.batches[:2]) == [8, BATCH]
    assert rewards == {"q1": 1.0, "q2": 1.0}
    assert sum(each[0].cost_usd for each in said.values()) == pytest.approx((BATCH + 8 + 2) / 1000)


async def test_a_text_that_is_the_query_itself_does_not_count(tmp_path):
    written = folder_of(tmp_path, {"q": "41", "d": "40", "e": "80"}, {"q": "41"}, [("q", "d", 1)])
    _, rewards = await answers(load_task(written), Calls())
    assert rewards == {"q": 1.0}


def test_queries_that_nothing_answers_are_left_out(tmp_path):
    written = folder_of(tmp_path, {"d": "1"}, {"q1": "1", "q2": "2", "q3": "3"}, [("q1", "d", 1), ("q2", "d", 0)])
    assert [item.id for item in load_task(written).items] == ["q1"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("q", "d"), r"test\.tsv:2: expected query-id, corpus-id and a whole number"),
        (("q", "d", "high"), r"test\.tsv:2: expected query-id, corpus-id and a whole number"),
        (("q", "x", "1"), r"test\.tsv:2: expected the id of a text of corpus\.jsonl, got 'x'"),
    ],
)
def test_a_wrong_judgement_is_named(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        load_task(folder_of(tmp_path, {"d": "1"}, {"q": "1"}, [row]))


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DataError, match=r"corpus\.jsonl: can't be read: No such file"):
        load_task(f"beir={tmp_path}")


@given(RELEVANCE, st.permutations("abcdefghijkl"))
def test_ndcg_is_highest_for_the_best_order(relevance, found):
    best = sorted(relevance, key=relevance.__getitem__, reverse=True)
    assert 0.0 <= ndcg(found, relevance) <= ndcg(best, relevance) == pytest.approx(1.0)


@given(RELEVANCE)
def test_ndcg_is_nothing_where_nothing_was_found(relevance):
    assert ndcg(list(itertools.islice("mnopqrstuvwxyz", 10)), relevance) == 0.0
