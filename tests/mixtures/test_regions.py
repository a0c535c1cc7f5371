"""How many regions there are, and where."""

import numpy as np
import pytest

from orchestrator.mixtures.regions import ROWS_PER_REGION, find_regions


def around(*centres, count=16, spread=0.05):
    """Unit vectors near the axes `centres` of five dimensions, `count` near each."""
    dice = np.random.default_rng(0)
    vectors = np.concatenate([np.eye(5)[axis] + dice.normal(0, spread, (count, 5)) for axis in centres])
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_as_many_as_there_are_groups(groups):
    centres = find_regions(around(*range(groups)))
    assert sorted(centres.argmax(axis=1)) == list(range(groups))
    assert centres.dtype == np.float32


def test_a_number_that_is_asked_for_is_taken_as_far_as_vectors_differ():
    assert len(find_regions(around(0, 1), count=5)) == 5
    assert len(find_regions(np.ones((6, 3), np.float32), count=5)) == 1


@pytest.mark.parametrize("count", [1, 2, ROWS_PER_REGION, 2 * ROWS_PER_REGION - 1])
def test_few_queries_are_one_region(count):
    assert len(find_regions(around(0, count=count))) == 1
