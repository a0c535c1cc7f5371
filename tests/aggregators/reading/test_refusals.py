"""Whether a text declines to answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.aggregators.reading.refusals import MAX_REFUSAL_CHARS, refuses


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m really sorry, but I cannot assist you with this request.",
        "I am sorry, I can't.",
        "Sorry, I can't do that.",
        "I apologize, but I am unable to provide this.",
        "Unfortunately, I won't be able to help. Unfortunately, I can't share that.",
        "I can't assist with that request.",
        "I cannot fulfill your request.",
        "I’m not able to help you with creating weapons, but I can tell you about their history.",
        "I won't write that.",
        "I must respectfully decline.",
        "As an AI language model, I cannot browse the internet.",
        "**I can't comply** with this.",
        "Es tut mir leid, dabei kann ich nicht helfen.",
        "Ich kann Ihnen dabei leider nicht weiterhelfen.",
        "Désolé, mais je ne peux pas répondre.",
        "Lo siento, no puedo ayudar con eso.",
        "抱歉，我无法回答这个问题。",
    ],
)
def test_a_refusal(text: str):
    assert refuses(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "42",
        "I can't help but admire this. 42.",
        "I'm sorry to hear that. Drink some water.",
        "Sorry! It is 42.",
        "Unfortunately, the bridge cannot carry that load.",
        "I can't provide legal advice, but in general a lease ends with its term.",
        "I cannot be sure, yet 42 fits.",
        "As an AI I have no favourite, and many like blue.",
        "She said: \"I'm sorry, but I can't help with that.\"",
        "I'm sorry, I can't see the graph, but from the text the answer is 42.",
        "Write: I'm sorry, but I can't help with that.",
        "Es tut mir leid für dich. Das Ergebnis ist 42.",
        "Leider ist 42 falsch; ich kann das nicht ändern, es sind 43.",
    ],
)
def test_no_refusal(text: str):
    assert not refuses(text)


def test_who_goes_on_at_length_has_said_something():
    assert not refuses("I'm sorry, but I can't help with that. " + "Here is the rest. " * (MAX_REFUSAL_CHARS // 18))


@given(text=st.text())
def test_only_the_beginning_counts(text: str):
    assert not refuses(f"The product is 42. {text}")
