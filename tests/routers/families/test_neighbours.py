import numpy as np
import pytest

from routers.base import Outcome
from routers.data.table import RewardTable
from routers.encoders import HashedEncoder
from routers.families.neighbours import NeighboursRouter, pathways

ENCODER = HashedEncoder(64)
SURROGATES = ("gradient", "kernel", "mode")


def circle(n, seed=0):
    angles = np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi, n)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def quarters(vectors):
    """Expert a is right in two opposite quarters of the circle and b in the others, which no linear base router can tell."""
    same = vectors[:, 0] * vectors[:, 1] > 0
    return RewardTable.of(Outcome(str(i), {"a": float(s), "b": float(not s)}) for i, s in enumerate(same)), same


def fitted(table, vectors, **parameters):
    return NeighboursRouter(encoder=ENCODER, **parameters).fit_encoded(table, vectors)


@pytest.mark.parametrize("surrogate", ["gradient", "kernel"])
def test_neighbours_tell_what_the_base_router_cannot(surrogate):
    vectors, asked = circle(400), circle(200, seed=1)
    table, _ = quarters(vectors)
    _, is_a = quarters(asked)
    base = fitted(table, vectors, surrogate=surrogate, steps=0, k=20).base_weights_
    mixed = fitted(table, vectors, surrogate=surrogate, k=20, temperature=0.05).predict_encoded(asked)
    assert ((asked @ base).argmax(axis=1) == np.where(is_a, 0, 1)).mean() < 0.75
    assert (mixed.argmax(axis=1) == np.where(is_a, 0, 1)).mean() > 0.9


def test_mode_finding_moves_to_where_pathways_are_dense():
    """Three in four references are a's alone; queries between the heaps end with a, whatever their neighbours."""
    vectors = circle(80)
    table = RewardTable.of(Outcome(str(i), {"a": float(i % 4 > 0), "b": float(i % 4 == 0)}) for i in range(80))
    predicted = fitted(table, vectors, surrogate="mode", bandwidth=0.5, k=60).predict_encoded(circle(50, seed=1))
    assert (predicted[:, 0] > predicted[:, 1]).all()


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_queries_on_which_everybody_failed_are_no_references(surrogate):
    vectors = circle(60)
    table = RewardTable.of(Outcome(str(i), {"a": float(i % 3 == 0), "b": 0.0}) for i in range(60))
    router = fitted(table, vectors, surrogate=surrogate)
    assert len(router.rewards_) == len(router.memory_.vectors) == 20
    assert np.isfinite(router.predict_encoded(vectors)).all()


def test_the_best_there_is_will_do_where_nobody_did_well():
    table = RewardTable.of([Outcome("x", {"a": 0.1, "b": 0.3}), Outcome("y", {"a": 0.0, "b": 0.1})])
    assert len(fitted(table, circle(2)).rewards_) == 1


def test_an_outcome_counts_by_its_importance_weight():
    """The two at one place disagree, and the one that exploration rarely sees counts more."""
    vectors = np.array([[1.0, 0.0]] * 8, dtype=np.float32)
    outcomes = [Outcome(str(i), {"a": 1.0, "b": 0.0}) for i in range(4)]
    outcomes += [Outcome(str(i + 4), {"a": 0.0, "b": 1.0}, propensity={"a": 0.1, "b": 0.1}) for i in range(4)]
    predicted = fitted(RewardTable.of(outcomes), vectors, k=8).predict_encoded(vectors[:1])
    assert predicted[0, 1] > predicted[0, 0]


def test_pathways_are_shares_of_the_reward():
    found = pathways(np.array([[1.0, 0.5, 0.5], [0.0, 0.0, 0.0]], dtype=np.float32))
    np.testing.assert_allclose(found, [[0.5, 0.25, 0.25], [0.0, 0.0, 0.0]])
