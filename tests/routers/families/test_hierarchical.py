"""Groups of experts, then experts."""

import numpy as np
import pytest

from routers.artifact import load_artifact, save_artifact
from routers.base import Outcome
from routers.encoders import HashedEncoder
from routers.families.hierarchical import HierarchicalRouter
from routers.parts.described import DescribedEncoder

SUMS, POEMS = "add {i} and {j}", "write poem {i} about rain"
QUESTIONS = ("add 55 and 99", "write poem 99 about rain")


def rewards(is_sum, dice):
    """Two experts for sums that are alike, two for poems, and each pair has a better one."""
    good, bad = (0.9, 0.8), (0.2, 0.1)
    values = (*good, *bad) if is_sum else (*bad, *good)
    return {name: value + 0.05 * dice.random() for name, value in zip("abcd", values, strict=True)}


def outcomes(n=60, text=(SUMS, POEMS)):
    dice = np.random.default_rng(0)
    for i in range(n):
        for is_sum, template in zip((True, False), text, strict=True):
            yield Outcome(template.format(i=i, j=i + 7), rewards(is_sum, dice), group="sums" if is_sum else "poems")


def fitted(rows=None, **parameters):
    return HierarchicalRouter(encoder=HashedEncoder(256), **parameters).fit(list(rows or outcomes()))


def test_the_best_expert_of_the_right_group_wins_and_scores_are_rewards():
    scores = fitted().predict(list(QUESTIONS))
    assert scores.argmax(axis=1).tolist() == [0, 2]
    assert scores[0, 0] == pytest.approx(0.9, abs=0.15)
    assert scores[0, 3] == pytest.approx(0.1, abs=0.15)


def test_experts_whose_rewards_go_together_are_a_group():
    group_of = fitted(num_groups=2).group_of_
    assert group_of["a"] == group_of["b"] != group_of["c"] == group_of["d"]


def test_groups_may_be_given():
    group_of = fitted(groups={"left": ("a", "c"), "right": ("b", "d")}).group_of_
    assert group_of == {"a": 0, "c": 0, "b": 1, "d": 1}


@pytest.mark.parametrize(
    ("groups", "match"),
    [({"left": ("a", "b", "c")}, "none for the expert 'd'"), ({"left": ("a", "b"), "right": ("b", "c", "d")}, "twice")],
)
def test_groups_hold_every_expert_once(groups, match):
    with pytest.raises(ValueError, match=match):
        fitted(groups=groups)


@pytest.mark.parametrize("num_groups", [1, 2, 4, 9])
def test_any_number_of_groups_works(num_groups):
    assert fitted(num_groups=num_groups).predict(list(QUESTIONS)).argmax(axis=1).tolist() == [0, 2]


def test_a_variance_constraint_draws_the_experts_of_a_group_together():
    """Nothing but noise tells the experts of a pair apart, and it is learned unless it costs something."""
    dice = np.random.default_rng(3)
    rows = [
        Outcome(f"add {i} and {i * i}", {"a": dice.random(), "b": dice.random(), "c": 0.0, "d": 0.0}, group="sums")
        for i in range(80)
    ]
    pairs = {"left": ("a", "b"), "right": ("c", "d")}
    free, held = (
        fitted(rows, groups=pairs, variance=variance, penalty=0.1).gates_.local_weights[:, :2]
        for variance in (0.0, 10.0)
    )
    assert np.ptp(held, axis=1).mean() < 0.5 * np.ptp(free, axis=1).mean()


def test_dropout_teaches_the_second_best_group():
    """While `a` and `b` are dropped, it is seen that `c` beats `d` on sums as well."""
    without, dropped = (fitted(dropout=dropout, num_groups=2, penalty=1.0) for dropout in (0.0, 0.5))
    shares = [router.gates_.global_weights for router in (without, dropped)]
    assert not np.allclose(*shares)
    assert dropped.predict(list(QUESTIONS)).argmax(axis=1).tolist() == [0, 2]


def test_two_fits_drop_the_same():
    first, second = fitted(dropout=0.5), fitted(dropout=0.5)
    np.testing.assert_array_equal(first.predict(list(QUESTIONS)), second.predict(list(QUESTIONS)))


def described(texts):
    """A language model that knows what the numbers in these texts stand for."""
    return ["a sum of two numbers" if int(text.split()[1]) % 2 else "verse about the weather" for text in texts]


def test_descriptions_tell_what_queries_do_not(tmp_path):
    """All queries look alike; only what is said of them tells what they are."""
    encoder = DescribedEncoder(HashedEncoder(128), described, name="parity")
    dice = np.random.default_rng(0)
    rows = [
        Outcome(f"task {i} please", rewards(bool(i % 2), dice), group="sums" if i % 2 else "poems") for i in range(120)
    ]
    router = HierarchicalRouter(encoder=encoder, described=True).fit(rows)
    assert router.predict(["task 555 please", "task 888 please"]).argmax(axis=1).tolist() == [0, 2]
    save_artifact(tmp_path / "a", router, card="")
    loaded = load_artifact(tmp_path / "a", encoders=[encoder]).router
    np.testing.assert_array_equal(loaded.predict(["task 5 please"]), router.predict(["task 5 please"]))


def test_a_log_with_one_expert_a_query_is_enough():
    """What the others would have earned is taken from the category."""
    rows = list(outcomes(n=120))
    log = [
        Outcome(row.query, {"abcd"[i // 2 % 4]: row.rewards["abcd"[i // 2 % 4]]}, group=row.group)
        for i, row in enumerate(rows)
    ]
    assert fitted(log).predict(list(QUESTIONS)).argmax(axis=1).tolist() == [0, 2]
