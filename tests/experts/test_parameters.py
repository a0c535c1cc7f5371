import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config import ParameterMap
from orchestrator.errors import ExpertRejected
from orchestrator.experts.parameters import Parameters


def apply(body, **parameters):
    return Parameters("me", ParameterMap(**parameters)).apply(body)


@given(st.dictionaries(st.text(), st.integers() | st.none()))
def test_an_empty_map_changes_nothing(body):
    assert apply(body) == body


def test_parameters_are_renamed_set_and_dropped():
    body = {"messages": [], "max_tokens": 5, "top_k": 3, "temperature": 1.5}
    mapped = apply(
        body, rename={"max_tokens": "max_completion_tokens"}, set={"temperature": 1}, drop=("top_k", "absent")
    )
    assert mapped == {"messages": [], "max_completion_tokens": 5, "temperature": 1}


def test_the_clients_body_is_not_changed():
    body = {"top_k": 3}
    apply(body, drop=("top_k",), set={"n": 1})
    assert body == {"top_k": 3}


def test_a_refused_parameter_is_named():
    with pytest.raises(ExpertRejected, match="logit_bias is not supported by me") as caught:
        apply({"logit_bias": {}}, reject=("logit_bias",))
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, "logit_bias", "unsupported_parameter")


def test_null_is_the_same_as_absent():
    assert apply({"logit_bias": None, "a": None}, reject=("logit_bias",), rename={"a": "b"}) == {}


def test_what_the_client_sent_under_the_new_name_stays():
    assert apply({"old": 1, "new": 2}, rename={"old": "new"}) == {"new": 2}
    assert apply({"old": 1, "new": None}, rename={"old": "new"}) == {"new": 1}


def test_the_map_knows_which_parameters_it_touches():
    parameters = Parameters("me", ParameterMap(rename={"a": "b"}, set={"c": 1}, drop=("d",), reject=("e",)))
    assert [name for name in "abcdef" if parameters.touches(name)] == ["a", "c", "d", "e"]
