"""Claims about recorded answers, on invented ones: what is compared, and on queries that were not learned from."""

import numpy as np
import pytest

from evals.claims.recorded import compare
from evals.claims.registry import claim_function
from evals.fusion.benchmark import POOLS
from routers.data.outcomes import write_outcomes
from tests.support.recorded import recorded_outcomes

N = 300


def written(folder, skills):
    write_outcomes(folder / "mmlupro28-dev.jsonl.gz", recorded_outcomes(skills, n=N))
    return folder


@pytest.fixture
def independent(tmp_path):
    """Ten experts who err independently, and so are right together more often than alone."""
    return written(tmp_path, dict.fromkeys(POOLS["mmlupro10"], 0.6))


def test_every_query_is_judged_once_by_what_was_learned_from_others(independent):
    judged = []

    def earned(train, test):
        assert not set(train.queries) & set(test.queries)
        judged.extend(test.queries)
        return np.ones(len(test), dtype=np.float32), np.zeros(len(test), dtype=np.float32)

    gain = compare(independent, earned)
    assert len(judged) == len(set(judged)) == gain.n == N
    assert gain.mean == gain.low == gain.high == 1.0


def test_a_vote_of_independent_experts_beats_each_of_them(independent):
    found = claim_function("vote")(independent)
    assert found.n == N
    assert found.holds


def test_where_experts_err_independently_a_third_call_is_best_spent_on_disagreement(independent):
    assert claim_function("agreement")(independent).difference > 0.0


def test_a_vote_gains_nothing_over_an_expert_who_is_always_right(tmp_path):
    first, *others = POOLS["mmlupro10"]
    found = claim_function("vote")(written(tmp_path, {first: 1.0, **dict.fromkeys(others, 0.2)}))
    assert found.difference <= 0.0
    assert not found.holds


def test_a_folder_without_answers_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="found none"):
        claim_function("vote")(tmp_path)
