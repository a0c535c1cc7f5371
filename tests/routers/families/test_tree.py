"""A tree that splits where it pays."""

import numpy as np
import pytest

from routers.artifact import load_artifact, save_artifact
from routers.base import Outcome
from routers.data.table import RewardTable
from routers.encoders import HashedEncoder
from routers.families.tree import TreeRouter
from tests.support.outcomes import noise, specialists


def line(n=200):
    """Points on a line, in no order of theirs."""
    return np.random.default_rng(1).uniform(-1.0, 1.0, n)


def fitted(positions, reward, **parameters):
    """reward: position -> rewards of `a` and `b`; a second dimension says nothing."""
    outcomes = [Outcome(f"query {i}", dict(zip("ab", reward(x), strict=True))) for i, x in enumerate(positions)]
    vectors = np.column_stack([positions, 0.01 * np.sin(50.0 * positions)]).astype(np.float32)
    return TreeRouter(encoder=HashedEncoder(2), **parameters).fit_encoded(RewardTable.of(outcomes, "ab"), vectors)


def at(*positions):
    return np.array([(x, 0.0) for x in positions], dtype=np.float32)


def test_it_finds_where_expertise_changes():
    router = fitted(line(), lambda x: (1.0, 0.0) if x < 0.3 else (0.0, 1.0))
    assert router.predict_encoded(at(-0.9, 0.2, 0.4, 0.9)).argmax(axis=1).tolist() == [0, 0, 1, 1]
    assert (router.tree_.component >= 0).sum() == 1


def test_regions_within_regions_take_more_splits():
    router = fitted(line(400), lambda x: (1.0, 0.0) if abs(x) < 0.4 else (0.0, 1.0))
    assert router.predict_encoded(at(-0.8, -0.2, 0.2, 0.8)).argmax(axis=1).tolist() == [1, 0, 0, 1]


def test_it_does_not_split_where_the_same_expert_is_best_everywhere():
    """`a` is much better on the left, but never worse than b."""
    router = fitted(line(), lambda x: (0.9 if x < 0.0 else 0.6, 0.5))
    assert len(router.tree_.component) == 1


def test_it_does_not_split_noise():
    router = TreeRouter(encoder=HashedEncoder(64)).fit(list(noise(600)))
    assert (router.predict(["question 17 number 4", "anything"]).argmax(axis=1) == 0).all()


def test_a_leaf_is_drawn_towards_its_parent():
    """100 rows of 1 in a leaf under a root with mean 0.5, which counts for 100 rows."""
    positions = np.concatenate([np.linspace(-1.0, -0.5, 100), np.linspace(0.5, 1.0, 100)])
    router = fitted(positions, lambda x: (1.0, 0.0) if x < 0.0 else (0.0, 1.0), pseudo_rows=100.0)
    np.testing.assert_allclose(router.predict_encoded(at(-0.7)), [[0.75, 0.25]], atol=1e-5)


@pytest.mark.parametrize(("max_depth", "min_leaf"), [(0, 15), (8, 150)])
def test_depth_and_leaf_size_bound_the_tree(max_depth, min_leaf):
    router = fitted(line(), lambda x: (1.0, 0.0) if x < 0.0 else (0.0, 1.0), max_depth=max_depth, min_leaf=min_leaf)
    assert len(router.tree_.component) == 1


def test_the_nearest_variant_is_the_mean_of_the_nearest_queries():
    router = fitted(line(400), lambda x: (1.0, 0.0) if x < 0.0 else (0.0, 1.0), variant="nearest")
    assert router.predict_encoded(at(-0.5, 0.5)).argmax(axis=1).tolist() == [0, 1]
    std = router.predict_encoded(at(-0.5), return_std=True)[1]
    assert std.shape == (1, 2)


@pytest.mark.parametrize("variant", ["tree", "nearest"])
def test_either_variant_comes_back_from_an_artifact(variant, tmp_path):
    router = TreeRouter(encoder=HashedEncoder(256), variant=variant).fit(specialists())
    save_artifact(tmp_path / "a", router, card="")
    loaded = load_artifact(tmp_path / "a").router
    np.testing.assert_array_equal(loaded.predict(["What is 5 + 12?"]), router.predict(["What is 5 + 12?"]))
