"""Principal components."""

import numpy as np
import pytest

from routers.parts.components import fit_components


def test_the_first_component_is_the_direction_of_greatest_variance():
    dice = np.random.default_rng(0)
    vectors = (dice.normal(size=(200, 3)) * [0.1, 5.0, 1.0] + 7.0).astype(np.float32)
    components = fit_components(vectors, 2)
    np.testing.assert_allclose(np.abs(components.directions), [[0, 0], [1, 0], [0, 1]], atol=0.1)
    features = components(vectors)
    np.testing.assert_allclose(features.mean(axis=0), 0.0, atol=1e-4)
    assert features[:, 0].std() == pytest.approx(5.0, rel=0.2)


@pytest.mark.parametrize(("n", "expected"), [(1, 1), (2, 1), (3, 2), (50, 4)])
def test_there_are_fewer_than_queries_or_dimensions(n, expected):
    vectors = np.random.default_rng(0).normal(size=(n, 5)).astype(np.float32)
    assert fit_components(vectors, 10)(vectors).shape == (n, expected)


def test_equal_vectors_have_one_feature_that_says_nothing():
    vectors = np.ones((10, 4), dtype=np.float32)
    np.testing.assert_array_equal(fit_components(vectors, 3)(vectors), np.zeros((10, 1)))


def test_two_fits_are_the_same():
    vectors = np.random.default_rng(0).normal(size=(60, 20)).astype(np.float32)
    np.testing.assert_array_equal(fit_components(vectors, 5)(vectors), fit_components(vectors, 5)(vectors))


def test_two_texts_have_one_direction():
    """A start that is orthogonal to all centred rows would stop the solver."""
    found = fit_components(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=np.float32), 4)
    assert np.isfinite(found.directions).all()
