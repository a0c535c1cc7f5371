import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.aggregators.tokens.sampling import TEMPERATURE, TOP_P, Sampler, Sampling, Writing, sampling_of
from orchestrator.errors import ExpertRejected
from orchestrator.types import Call

LOGPROBS = np.log(np.array([0.05, 0.6, 0.25, 0.1]))


def chat(**body):
    return Call("chat", {"model": "auto", "messages": [], **body}, time.monotonic() + 60)


def drawn(sampling, times=400):
    sampler = Sampler(sampling)
    return np.bincount([sampler.pick(LOGPROBS) for _ in range(times)], minlength=4) / times


def test_what_the_client_asks_for_is_honoured():
    asked = chat(temperature=0.5, top_p=0.9, seed=3, max_completion_tokens=9, stop="END", stream=True, user="me")
    assert sampling_of(asked, "p", seed=1) == Sampling(0.5, 0.9, 3, 9, ("END",))


def test_a_client_that_says_nothing_gets_the_defaults():
    assert sampling_of(chat(temperature=None), "p", seed=1) == Sampling(TEMPERATURE, TOP_P, 1, None, ())


@pytest.mark.parametrize(
    "asked",
    [{"logit_bias": {"1": 5}}, {"frequency_penalty": 0.5}, {"response_format": {"type": "json_object"}}, {"n": 2}],
)
def test_parameters_that_cannot_be_honoured_are_refused_by_name(asked):
    with pytest.raises(ExpertRejected, match=next(iter(asked))):
        sampling_of(chat(**asked), "p", seed=1)


def test_parameters_that_ask_for_what_happens_anyway_are_fine():
    sampling_of(chat(frequency_penalty=0, logit_bias={}, response_format={"type": "text"}, tools=[], n=1), "p", seed=1)


def test_temperature_0_takes_the_likeliest():
    assert drawn(Sampling(temperature=0.0)).tolist() == [0, 1, 0, 0]


def test_without_limits_tokens_come_as_often_as_they_are_likely():
    np.testing.assert_allclose(drawn(Sampling(temperature=1.0, top_p=1.0), 4_000), np.exp(LOGPROBS), atol=0.03)


def test_top_p_leaves_out_the_unlikely():
    assert (drawn(Sampling(temperature=1.0, top_p=0.8)) > 0).tolist() == [False, True, True, False]


def test_a_high_temperature_evens_out():
    np.testing.assert_allclose(drawn(Sampling(temperature=1e6, top_p=1.0), 4_000), 0.25, atol=0.03)


def test_what_has_no_probability_never_comes():
    sampler = Sampler(Sampling(temperature=1e6, top_p=1.0))
    assert {sampler.pick(np.array([-np.inf, 0.0, -np.inf, -1.0])) for _ in range(50)} == {1, 3}


def test_the_same_seed_draws_the_same():
    first, second = (Sampler(Sampling(seed=5)) for _ in range(2))
    assert [first.pick(LOGPROBS) for _ in range(50)] == [second.pick(LOGPROBS) for _ in range(50)]


@given(st.text(), st.data())
def test_text_comes_out_whole_however_its_bytes_are_cut(text, data):
    encoded, writing, shown = text.encode(), Writing(("\x00stop",)), ""
    while encoded:
        size = data.draw(st.integers(1, len(encoded)))
        shown, encoded = shown + writing.write(encoded[:size]), encoded[size:]
    assert shown + writing.write(b"", last=True) == text


@given(st.text("ab", max_size=12), st.text("ab", min_size=1, max_size=3), st.integers(1, 3))
def test_nothing_of_a_stop_sequence_is_shown(text, stop, size):
    writing = Writing((stop,))
    shown = "".join(writing.write(text[i : i + size].encode()) for i in range(0, len(text), size))
    shown += writing.write(b"", last=True)
    assert shown == text.partition(stop)[0]
    assert writing.ended == (stop in text)


def test_half_a_character_at_the_end_is_shown_as_one_that_is_missing():
    writing = Writing(())
    assert writing.write("é".encode()[:1]) == ""
    assert writing.write(b"", last=True) == "�"
