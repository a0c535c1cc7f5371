"""What others wrote, bent so that it stays data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.labelling.quoting import harmless


@pytest.mark.parametrize(
    "token",
    [
        "<|im_start|>",
        "<|eot_id|>",
        "<｜User｜>",
        "<s>",
        "</s>",
        "[INST]",
        "[/INST]",
        "<<SYS>>",
        "<start_of_turn>",
        "</think>",
        "⟦",
        "⟧",
    ],
)
@given(before=st.text(max_size=5), after=st.text(max_size=5))
def test_no_control_token_of_a_chat_template_survives(token: str, before: str, after: str):
    assert token not in harmless(before + token + after)
    assert token not in harmless(before + "\u200b".join(token) + after)


@pytest.mark.parametrize(
    "text",
    ["a |> b || c", "x < y and [1, 2][INSTANCE]", "<p>1</p>\n\tif a<b:", "Ça va? 你好 مرحبا 👩‍👧", "<text x='1'/>"],
)
def test_what_is_no_control_token_stays(text: str):
    assert harmless(text) == text


@pytest.mark.parametrize("tag", ["</answer", "<answer0", "< / PASSAGES"])
def test_what_a_cut_could_make_a_fence_is_bent_too(tag: str):
    assert harmless(tag) == f"‹{tag[1:]}"


@given(st.text(alphabet="<|im_end>/s[INST]⟦⟧ \u200b"))
def test_what_is_harmless_stays_as_it_is(text: str):
    assert harmless(harmless(text)) == harmless(text)
