"""The router that learns which of several to trust."""

import numpy as np
import pytest

from routers.base import Outcome
from routers.encoders import HashedEncoder
from routers.families.auto import AutoRouter
from routers.registry import make_router

KINDS = {
    "sums": ("What is {} plus {}?", (0.9, 0.2)),
    "poems": ("Write poem {} in {} lines", (0.3, 0.8)),
    "code": ("def f{}(x): return x * {}", (0.7, 0.6)),
    "facts": ("In which year {} did event {} happen", (0.4, 0.5)),
}


def outcomes(noise=0.1, copies=25, seed=0):
    dice = np.random.default_rng(seed)
    for kind, (template, means) in KINDS.items():
        for i in range(copies):
            rewards = np.clip(np.array(means) + noise * dice.standard_normal(2), 0, 1)
            names = zip(("a", "b"), rewards.tolist(), strict=True)
            yield Outcome(template.format(i, i + 3), dict(names), group=kind)


def fitted(rows, **parameters):
    return AutoRouter(encoder=HashedEncoder(256), **parameters).fit(list(rows))


def test_it_predicts_rewards_of_kinds_it_knows():
    predicted = fitted(outcomes()).predict([template.format(77, 80) for template, _ in KINDS.values()])
    np.testing.assert_allclose(predicted, [means for _, means in KINDS.values()], atol=0.12)


def test_where_nothing_can_be_learned_it_is_best_single():
    """Rewards have nothing to do with the query: what is left is each expert's mean."""
    dice = np.random.default_rng(3)
    rows = [
        Outcome(f"{'abcdefgh'[i % 8]} question {i}", {"a": float(dice.random() < 0.6), "b": float(dice.random() < 0.4)})
        for i in range(400)
    ]
    router = fitted(rows)
    predicted = router.predict([f"question {i} of another kind" for i in range(50)])
    assert (predicted[:, 0] > predicted[:, 1]).all()
    assert np.abs(predicted - router.means_).max() < 0.15


def test_a_member_that_says_nothing_is_not_trusted():
    """`nearest` only votes; with `tagged` beside it, most of the trust goes to the one that predicts."""
    router = fitted(outcomes(), members=("tagged", "nearest"))
    assert router.trust_[0, 0] > router.trust_[0, 1]


def test_what_holds_on_no_unseen_group_is_not_believed_far_away():
    """Each group has its own winner, so nothing learned of some groups helps in the others."""
    router = fitted(outcomes(noise=0.02, copies=40))
    near, far = router.predict(["What is 5 plus 8?", "Ω≈ç√∫ 漢字かな交じり文 ψυχή"])
    spread = np.ptp(near - router.means_), np.ptp(far - router.means_)
    assert spread[1] < spread[0] / 2


def test_few_queries_are_enough_to_say_something():
    router = fitted(list(outcomes(copies=4)))
    assert router.predict(["What is 5 plus 8?"]).shape == (1, 2)
    assert router.trust_.sum() == pytest.approx(2 * 0.8)


@pytest.mark.parametrize("member", ["random", "auto"])
def test_members_learn_from_outcomes_and_have_no_members(member):
    with pytest.raises(ValueError, match=f"expected types that learn alone, got '{member}'"):
        fitted(outcomes(), members=("knn", member))


def test_there_is_a_member():
    with pytest.raises(ValueError, match="parameter 'members' of a router of type 'auto'"):
        make_router("auto", experts=(), encoder=HashedEncoder(8), parameters={"members": []})


def test_uncertainty_covers_the_truth():
    """Of the true means, at least 4 in 5 lie within two standard errors."""
    router = fitted(outcomes(noise=0.3, copies=30))
    mean, std = router.predict([t.format(i, i + 5) for t, _ in KINDS.values() for i in range(40, 50)], return_std=True)
    truth = np.repeat([means for _, means in KINDS.values()], 10, axis=0)
    assert (np.abs(mean - truth) <= 2 * std).mean() >= 0.8


def test_one_seed_gives_one_router():
    rows = list(outcomes())
    queries = ["What is 5 plus 8?", "Write poem 3 in 9 lines"]
    np.testing.assert_array_equal(fitted(rows).predict(queries), fitted(rows).predict(queries))
