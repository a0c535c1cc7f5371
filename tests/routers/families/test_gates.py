"""Post-hoc gates: each from its expert's own outcomes, and from nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from routers.base import ExpertCard, Outcome
from routers.encoders import HashedEncoder
from routers.families.gates import GatesRouter
from tests.support.outcomes import CHATS, SUMS, specialists

ROWS = specialists()
CARDS = (ExpertCard("calculator"), ExpertCard("poet"))


def fitted(outcomes, cards=()):
    return GatesRouter(encoder=HashedEncoder(256), experts=cards).fit(outcomes)


def scores_of(router, name):
    return router.predict([*SUMS[:5], *CHATS[:5]])[:, router.experts_.index(name)]


def of(name):
    return [replace(outcome, rewards={name: outcome.rewards[name]}) for outcome in ROWS]


def test_a_gate_is_the_same_bit_for_bit_without_the_other_experts():
    both, alone = fitted(ROWS), fitted(of("poet"))
    np.testing.assert_array_equal(both.gates_[both.experts_.index("poet")], alone.gates_[0])


def test_a_gate_does_not_change_with_what_others_earn():
    turned = [replace(outcome, rewards={**outcome.rewards, "calculator": 0.5}) for outcome in ROWS]
    one, other = fitted(ROWS), fitted(turned)
    np.testing.assert_array_equal(one.gates_[one.experts_.index("poet")], other.gates_[other.experts_.index("poet")])


def test_an_added_expert_has_the_gate_it_would_have_had_from_the_start():
    together, later = fitted(ROWS), fitted(of("calculator"))
    before = later.gates_.copy()
    later.add_expert(ExpertCard("poet"), ROWS)
    assert later.experts_ == ("calculator", "poet")
    np.testing.assert_array_equal(later.gates_[:1], before)
    np.testing.assert_array_equal(later.gates_[1], together.gates_[together.experts_.index("poet")])


def test_an_expert_without_outcomes_keeps_its_place_by_name_when_a_gate_is_added():
    router = fitted(of("calculator"), cards=(CARDS[0], ExpertCard("described", description="poems")))
    before = scores_of(router, "described")
    router.add_expert(CARDS[1], ROWS)
    assert router.experts_ == ("calculator", "poet", "described")
    np.testing.assert_allclose(scores_of(router, "described"), before, rtol=1e-5)


def test_experts_tried_on_different_queries_are_compared():
    rows = [replace(o, rewards=dict([list(o.rewards.items())[i % 2]])) for i, o in enumerate(ROWS)]
    router = fitted(rows)
    assert [router.experts_[i] for i in router.predict([SUMS[0], CHATS[0]]).argmax(axis=1)] == ["calculator", "poet"]


def test_one_lucky_outcome_is_no_expert():
    """One query of reward 1, and two that every gate has seen of reward 0.5."""
    router = fitted([Outcome("hello", {"lucky": 1.0})])
    assert router.predict(["something else entirely"])[0, 0] == pytest.approx(2 / 3, abs=0.1)


def test_a_known_expert_is_refused():
    with pytest.raises(ValueError, match="knows the expert 'poet' already"):
        fitted(ROWS).add_expert(CARDS[1], ROWS)
