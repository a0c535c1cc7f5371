import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from routers.base import ExpertCard, Outcome
from routers.encoders import HashedEncoder
from routers.families.kshot import KshotRouter, recruit, shots_per_task
from tests.support.outcomes import CHATS, SUMS, specialists

ENCODER = HashedEncoder(512)


def fitted(**parameters):
    return KshotRouter(encoder=ENCODER, **parameters).fit(list(specialists()))


def test_no_more_than_k_examples_of_a_task_are_used():
    tasks = np.array([0] * 10 + [1] * 3)
    rows = shots_per_task(tasks, 5, seed=1)
    assert np.bincount(tasks[rows]).tolist() == [5, 3]
    assert (np.diff(rows) > 0).all()


@pytest.mark.parametrize("shots", [2, 30])
def test_a_profile_is_the_mean_on_the_examples_drawn_towards_the_mean_over_tasks(shots):
    router = fitted(shots=shots, pseudo_rows=4.0)
    poet = router.fitted_experts_.index("poet")
    expected = (shots * 0.9 + 4.0 * 0.55) / (shots + 4.0)  # 0.9 on chats, 0.2 on sums
    assert router.profiles_[:, poet].max() == pytest.approx(expected, abs=1e-5)


def test_uncertainty_falls_with_the_examples():
    few, many = (fitted(shots=shots).predict(CHATS[:5], return_std=True)[1] for shots in (2, 30))
    assert (many < few).all()


def test_a_newcomer_is_taken_for_the_known_expert_whose_rewards_it_shares():
    """Nothing shows what it does on chats; the calculator, whose rewards on sums it shares, is bad at them."""
    expected = {}
    for like, other in (("calculator", "poet"), ("poet", "calculator")):
        router = fitted(pseudo_rows=1.0)
        rewards = [{"newcomer": i % 2, like: i % 2, other: 0.5} for i in range(40)]
        router.add_expert(ExpertCard("newcomer"), list(map(Outcome, SUMS, rewards)))
        expected[like] = router.predict(CHATS)[:, 2].mean()
        assert router.experts_ == ("calculator", "poet", "newcomer")
    assert expected["calculator"] + 0.1 < expected["poet"]


def test_more_examples_say_more_of_a_newcomer():
    expected = []
    for count in (0, 5, 20):
        router = fitted()
        router.add_expert(ExpertCard("newcomer"), [Outcome(query, {"newcomer": 1.0}) for query in CHATS[:count]])
        expected.append(router.predict(CHATS[20:])[:, 2].mean())
    assert expected[0] < expected[1] < expected[2]


def test_a_newcomer_can_be_followed_by_another():
    router = fitted()
    router.add_expert(ExpertCard("first"), [Outcome(query, {"first": 1.0}) for query in SUMS[:10]])
    router.add_expert(ExpertCard("second"), [Outcome(query, {"second": 0.0, "first": 1.0}) for query in SUMS[:10]])
    first, second = router.predict(SUMS[-1:])[0, 2:]
    assert first > second


def test_the_experts_with_the_best_rewards_are_recruited_first():
    rewards = np.array([[1, 0, 1], [1, 0, 0], [1, 1, 1]], dtype=np.float32)
    assert recruit(rewards, 3, diversity=0.0) == (0, 2, 1)


def test_of_near_equals_the_one_that_differs_is_recruited():
    """The second is the first again; the third is right where the first is wrong."""
    rewards = np.array([[1, 1, 0], [1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 1]], dtype=np.float32)
    assert recruit(rewards, 2, diversity=0.0) == (0, 1)
    assert recruit(rewards, 2, diversity=2.0) == (0, 2)


def test_of_equals_the_surer_is_recruited():
    rewards = np.array([[1, 1], [0, 0]], dtype=np.float32)
    assert recruit(rewards, 1, confidence=np.array([-2.0, -0.5], dtype=np.float32)) == (1,)


@given(arrays(np.float32, (4, 3), elements=st.sampled_from([0.0, 0.5, 1.0])), st.integers(1, 5))
def test_nobody_is_recruited_twice(rewards, count):
    taken = recruit(rewards, count)
    assert len(set(taken)) == len(taken) == min(count, 3)
