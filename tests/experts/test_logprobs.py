"""Log-probabilities in the two shapes that servers give them in."""

import pytest

from orchestrator.experts.logprobs import Token, as_asked, tokens_of, with_logprobs

CHAT = {
    "logprobs": {
        "content": [
            {
                "token": "Yes",
                "logprob": -0.1,
                "top_logprobs": [{"token": "Yes", "logprob": -0.1}, {"token": "No", "logprob": -2.0}],
            }
        ]
    }
}
COMPLETION = {"logprobs": {"token_logprobs": [None, -0.5], "top_logprobs": [None, {" a": -0.5, " b": -1.5}]}}


def test_both_shapes_are_read():
    assert tokens_of(CHAT) == [Token(-0.1, (("Yes", -0.1), ("No", -2.0)))]
    assert tokens_of(COMPLETION) == [Token(-0.5, ((" a", -0.5), (" b", -1.5)))]


@pytest.mark.parametrize(
    "choice", [{}, {"logprobs": None}, {"logprobs": {"content": None}}, {"logprobs": {"content": []}}]
)
def test_an_answer_without_them_has_none(choice):
    assert tokens_of(choice) == []


def test_they_are_asked_for_in_each_shape():
    assert with_logprobs({"n": 1}, "chat", 5) == {"n": 1, "logprobs": True, "top_logprobs": 5}
    assert with_logprobs({"logprobs": True, "top_logprobs": 8}, "chat", 5)["top_logprobs"] == 8
    assert with_logprobs({"logprobs": 2}, "completion", 5) == {"logprobs": 5}


def test_the_client_sees_what_it_asked_for():
    def shown(choice, **body):
        [seen] = as_asked({"choices": [{"logprobs": {**choice["logprobs"]}}]}, body)["choices"]
        return seen["logprobs"]

    assert shown(CHAT) is None
    assert shown(COMPLETION, logprobs=1)["top_logprobs"] == [{}, {" a": -0.5}]
    assert shown(COMPLETION, logprobs=None) is None
    [entry] = shown({"logprobs": {"content": [dict(CHAT["logprobs"]["content"][0])]}}, logprobs=True)["content"]
    assert entry["top_logprobs"] == []
