"""What is expected of experts before they are asked."""

import numpy as np

from routers.encoders import HashedEncoder
from routers.families.tagged import TaggedRouter
from routers.fusing.skills import Expected, Ranking, best_ranking, cross_fitted, inner_folds, overall, two_columns
from tests.support.recorded import recorded_answers

RANKINGS = (Ranking(1.0, 0.0), Ranking(1.0, 1.0))


def expected_of(table):
    encoder = HashedEncoder(64)
    vectors = TaggedRouter(encoder=encoder).encode(table.queries)
    return cross_fitted(table, vectors, encoder, inner_folds(table.reward_table()))[1]


def test_rewards_and_usable_answers_stand_side_by_side():
    table = recorded_answers({"a": 0.5, "b": 0.5}, n=50, silent=0.5)
    columns = two_columns(table).rewards
    assert (columns[:, 2:] == np.not_equal(table.answers, None)).all()
    assert (columns[:, :2] <= columns[:, 2:]).all()


def test_of_a_usable_answer_more_is_expected():
    found = Expected.of(np.array([[0.4, 0.5, 0.5, 1.0]], dtype=np.float32))
    assert found.right.tolist() == [[np.float32(0.4), 0.5]]
    assert found.right_if_usable.tolist() == [[np.float32(0.8), 0.5]]


def test_skill_depends_on_the_query():
    table = recorded_answers({"a": [0.9, 0.2], "b": [0.2, 0.9]}, n=300)
    is_algebra = np.array([group == "algebra" for group in table.groups])
    right = expected_of(table).right
    assert (right[is_algebra].argmax(axis=1) == 0).mean() > 0.95
    assert (right[~is_algebra].argmax(axis=1) == 1).mean() > 0.95


def test_experts_are_ranked_by_the_query_where_that_pays():
    table = recorded_answers({"a": [0.9, 0.2], "b": [0.2, 0.9]}, n=300)
    assert best_ranking(table, expected_of(table), RANKINGS, retry=False).query == 1.0


def test_experts_are_ranked_alike_for_all_queries_where_they_do_not_differ():
    table = recorded_answers({"a": 0.6, "b": 0.5}, n=300)
    assert best_ranking(table, expected_of(table), RANKINGS, retry=False) == RANKINGS[0]


def test_a_silent_expert_is_asked_first_when_silence_costs_only_a_call():
    table = recorded_answers({"plain": 0.6, "moody": 0.95}, n=400)
    table.answers[::2, 1], table.rewards[::2, 1] = None, 0.0
    rankings = (Ranking(1.0, 0.0), Ranking(0.0, 0.0))
    expected = expected_of(table)
    assert best_ranking(table, expected, rankings, retry=True).order(expected, overall(table))[0].tolist() == [1, 0]
    assert best_ranking(table, expected, rankings, retry=False).order(expected, overall(table))[0].tolist() == [0, 1]
