"""Tags of queries, given and mined."""

import numpy as np
import pytest

from routers.base import Outcome
from routers.data.table import RewardTable
from routers.parts.tags import given_tags, mined_tags


def table_of(*groups):
    return RewardTable.of([Outcome(f"q{i}", {"a": 0.5}, group=group) for i, group in enumerate(groups)])


def test_groups_are_numbered():
    assert given_tags(table_of("sums", "chats", "sums")).tolist() == [1, 0, 1]


def test_one_query_without_a_group_leaves_all_to_be_mined():
    assert given_tags(table_of("sums", None)) is None


def test_vectors_that_lie_together_share_a_tag():
    vectors = np.repeat(np.eye(3, dtype=np.float32), 10, axis=0)
    vectors += 0.01 * np.random.default_rng(0).standard_normal(vectors.shape, dtype=np.float32)
    tags = mined_tags(vectors, clusters=3, seed=0).reshape(3, 10)
    assert (tags == tags[:, :1]).all()
    assert len(set(tags[:, 0])) == 3


@pytest.mark.parametrize(("clusters", "seed"), [(2, 0), (8, 1), (40, 2)])
def test_tags_are_those_of_scikit_learn(clusters, seed):
    from sklearn.cluster import KMeans

    vectors = np.random.default_rng(seed).standard_normal((300, 16), dtype=np.float32)
    expected = KMeans(clusters, n_init=1, random_state=seed).fit(vectors).labels_
    np.testing.assert_array_equal(mined_tags(vectors, clusters, seed), expected)


def test_there_are_no_more_tags_than_different_vectors():
    tags = mined_tags(np.repeat(np.eye(2, dtype=np.float32), 5, axis=0), clusters=8, seed=0)
    assert len(set(tags)) == 2
