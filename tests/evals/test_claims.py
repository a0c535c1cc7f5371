"""Claims of papers: each is found by its name, and two routers are compared on what they have not seen."""

import numpy as np
import pytest

from evals.claims.held_out import compare, held_out_rewards
from evals.claims.registry import CLAIMS, claim_function
from evals.protocols import Protocol
from routers.data.splits import fold_numbers
from routers.data.table import RewardTable
from routers.encoders import HashedEncoder
from routers.families.gates import GatesRouter
from tests.support.outcomes import specialists


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_is_a_function_of_a_folder(name):
    assert callable(claim_function(name))


def test_an_unknown_claim_names_those_there_are():
    with pytest.raises(ValueError, match=r"unknown claim 'zoo', expected one of .*zooter"):
        claim_function("zoo")


def test_a_router_is_judged_by_queries_it_has_not_seen():
    table = RewardTable.of(specialists())
    folds = fold_numbers(table, 3)
    splits = tuple((table.rows(folds != fold), table.rows(folds == fold)) for fold in range(3))
    rewards = held_out_rewards(Protocol("", splits), lambda encoder: GatesRouter(encoder=encoder), HashedEncoder(256))
    assert len(rewards) == len(table)
    np.testing.assert_allclose(rewards, 0.9)


def test_a_folder_without_outcomes_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="expected the outcomes of one of llmrouter9"):
        compare(tmp_path, *[lambda encoder: GatesRouter(encoder=encoder)] * 2)
