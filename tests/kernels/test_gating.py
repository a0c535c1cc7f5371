import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evals.bench_kernels import choice_inputs, gate_inputs
from kernels import reference
from kernels.gating import expert_choice, gate

SCORES = st.one_of(st.floats(-2, 2, width=32), st.sampled_from([0.0, 0.5, 1.0, -np.inf]))


@st.composite
def scores(draw):
    return draw(arrays(np.float32, (draw(st.integers(0, 7)), draw(st.integers(1, 5))), elements=SCORES))


@st.composite
def choices(draw):
    pairs = draw(scores())
    at_most = draw(st.integers(0, 4))
    capacities = draw(arrays(np.intp, pairs.shape[1], elements=st.integers(0, 6)))
    return pairs, capacities, at_most, draw(st.integers(0, at_most))


@given(
    scores(),
    st.sampled_from([0.1, 1.0]),
    st.none() | st.integers(1, 6),
    st.sampled_from([0.123, 0.678, 1.0]),
    st.none() | st.floats(-2, 2, width=32),
)
def test_gate_equals_its_reference(pairs, temperature, top_k, top_p, null_score):
    arguments = (pairs, temperature, top_k, top_p, null_score)
    np.testing.assert_allclose(gate(*arguments), reference.gate(*arguments), atol=1e-5)


@pytest.mark.parametrize("name", gate_inputs())
def test_gate_equals_its_reference_on_the_bench_inputs(name):
    np.testing.assert_allclose(gate(*gate_inputs()[name]), reference.gate(*gate_inputs()[name]), atol=1e-5)


@given(scores(), st.integers(1, 3), st.floats(-1, 1, width=32))
def test_weights_of_a_query_sum_to_one_or_are_all_nothing(pairs, top_k, null_score):
    weights = gate(pairs, 0.5, top_k, 0.9, null_score)
    assert ((weights > 0).sum(axis=1) <= top_k).all()
    np.testing.assert_allclose(weights.sum(axis=1), (weights > 0).any(axis=1), atol=1e-6)


def test_a_query_that_is_harder_to_tell_gets_more_experts():
    sure, unsure = gate(np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.49]], dtype=np.float32), 0.1, None, 0.8)
    assert (sure > 0).sum() == 1
    assert (unsure > 0).sum() == 3


def test_experts_that_do_not_beat_the_null_expert_take_no_part():
    weights = gate(np.array([[0.9, 0.6, 0.2], [0.3, 0.2, 0.1]], dtype=np.float32), 0.1, None, 1.0, 0.5)
    assert (weights > 0).tolist() == [[True, True, False], [False, False, False]]


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(0.0, 1, 1.0), (1.0, 0, 1.0), (1.0, 1, 0.0), (1.0, 1, 1.1)]
)
def test_gates_that_make_no_sense_are_errors(temperature, top_k, top_p):
    with pytest.raises(ValueError, match="expected temperature > 0"):
        gate(np.ones((1, 2), dtype=np.float32), temperature, top_k, top_p)


@given(choices())
def test_expert_choice_equals_its_reference(arguments):
    np.testing.assert_array_equal(expert_choice(*arguments), reference.expert_choice(*arguments))


@pytest.mark.parametrize("name", choice_inputs())
def test_expert_choice_equals_its_reference_on_the_bench_inputs(name):
    arguments = choice_inputs()[name]
    np.testing.assert_array_equal(expert_choice(*arguments), reference.expert_choice(*arguments))


@given(choices())
def test_no_expert_takes_more_than_it_can_and_no_query_more_than_it_may(arguments):
    pairs, capacities, at_most, _ = arguments
    chosen = expert_choice(*arguments)
    assert (chosen.sum(axis=0) <= capacities).all()
    assert (chosen.sum(axis=1) <= at_most).all()
    assert not chosen[np.isneginf(pairs)].any()


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 3))
def test_every_query_is_served_when_there_are_places_enough(queries, experts, spare):
    """Even if one expert is everybody's best."""
    pairs = np.tile(np.arange(experts, dtype=np.float32), (queries, 1))
    capacities = np.full(experts, -(-queries // experts) + spare)
    assert (expert_choice(pairs, capacities, experts, 1).sum(axis=1) >= 1).all()


def test_a_promise_to_serve_all_comes_before_a_second_expert_for_some():
    pairs = np.array([[0.9, 0.8], [0.1, 0.7]], dtype=np.float32)
    capacities = np.array([1, 1])
    assert expert_choice(pairs, capacities, 2, 0).tolist() == [[True, True], [False, False]]
    assert expert_choice(pairs, capacities, 2, 1).tolist() == [[True, False], [False, True]]


def test_at_least_more_than_at_most_is_an_error():
    with pytest.raises(ValueError, match="expected 0 <= at_least <= at_most, got 2 and 1"):
        expert_choice(np.ones((1, 1), dtype=np.float32), np.ones(1, dtype=np.intp), 1, 2)
