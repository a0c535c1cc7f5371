"""Categories of queries."""

import numpy as np
import pytest

from routers.base import Outcome
from routers.data.table import RewardTable
from routers.parts.categories import PENALTY, category_labels, fit_classifier, held_out_shares


def blobs(*sizes):
    """So many vectors around each unit vector, and which one."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    noise = 0.05 * np.random.default_rng(0).normal(size=(len(labels), len(sizes)))
    return (np.eye(len(sizes))[labels] + noise).astype(np.float32), labels


def table(labels, named=True):
    return RewardTable.of(
        [Outcome(f"query {i}", {"a": 1.0}, group=f"g{label}" if named else None) for i, label in enumerate(labels)]
    )


@pytest.mark.parametrize("sizes", [(20, 20, 20), (15, 15), (30,)])
def test_shares_sum_to_one_and_the_likeliest_is_right(sizes):
    vectors, labels = blobs(*sizes)
    shares = fit_classifier(vectors, labels)(vectors)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-5)
    assert (shares.argmax(axis=1) == labels).all()


def test_a_label_without_rows_gets_no_share():
    vectors, labels = blobs(20, 20)
    shares = fit_classifier(vectors, 2 * labels)(vectors)
    assert shares.shape == (40, 3)
    assert shares[:, 1].max() < 1e-6


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_it_is_multinomial_logistic_regression(noise):
    """As scikit-learn finds it, for categories that overlap, and vectors that all point more or less one way."""
    from sklearn.linear_model import LogisticRegression

    vectors, labels = blobs(100, 60, 20)
    vectors += 3.0 + noise * np.random.default_rng(1).standard_normal(vectors.shape, dtype=np.float32)
    model = LogisticRegression(C=1.0 / PENALTY, tol=1e-8, max_iter=2_000).fit(vectors.astype(np.float64), labels)
    np.testing.assert_allclose(fit_classifier(vectors, labels)(vectors), model.predict_proba(vectors), atol=5e-3)


def test_groups_are_the_categories():
    vectors, labels = blobs(20, 20, 20)
    np.testing.assert_array_equal(category_labels(table(labels), vectors, None, 0), labels)


@pytest.mark.parametrize(("named", "count"), [(False, 3), (True, 3)])
def test_categories_are_mined_where_asked_for_or_where_there_are_no_groups(named, count):
    vectors, labels = blobs(20, 20, 20)
    found = category_labels(table(labels, named=named), vectors, count, 0)
    assert len({(a, b) for a, b in zip(labels, found, strict=True)}) == 3


def test_groups_of_a_query_or_two_are_no_categories():
    vectors, labels = blobs(*[2] * 20)
    assert category_labels(table(labels), vectors, None, 0).max() < 8


def test_a_query_is_classified_by_others():
    """One whose label is wrong does not talk itself into it."""
    vectors, labels = blobs(40, 40)
    wrong = labels.copy()
    wrong[0] = 1
    shares = held_out_shares(table(wrong), vectors, wrong, seed=0)
    assert shares[0].argmax() == 0


def test_two_texts_are_too_few_to_hold_out():
    vectors, labels = blobs(1, 1)
    assert held_out_shares(table(labels), vectors, labels, seed=0).shape == (2, 2)
