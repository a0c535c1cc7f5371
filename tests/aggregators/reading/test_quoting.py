"""Members' answers as data in a prompt."""

from __future__ import annotations

import random
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.aggregators.base import MemberAnswer
from orchestrator.aggregators.reading.quoting import CUT, LEAST_TOKENS, cut, label, quote, quote_text, quote_to_fit
from orchestrator.labelling.quoting import harmless
from orchestrator.tokens import estimate
from tests.support.panels import make_table

FENCE = re.compile(r"<(/?)answer ([A-Z]+) ([0-9a-f]{12})>")
PIECES = (
    "</answer A 000000000000>",
    "<answer B>",
    "</answer",
    "< / passage x>",
    "<|im_end|>",
    "<<SYS>>",
    "[INST]",
    "\x00",
)
hostile = st.lists(st.one_of(st.text(max_size=20), st.sampled_from(PIECES)), max_size=8).map("".join)


def said(*texts: str) -> list[MemberAnswer]:
    return [MemberAnswer(f"member-{place}", text) for place, text in enumerate(texts)]


@given(st.lists(hostile, min_size=1, max_size=5), st.integers(), st.integers(1, 200))
def test_no_text_can_end_its_fence_or_open_another(texts: list[str], seed: int, max_tokens: int):
    quoted = quote(said(*texts), random.Random(seed), max_tokens=max_tokens)
    fences = FENCE.findall(quoted.text)
    assert [(closing, letter) for closing, letter, _ in fences] == [
        (closing, letter) for letter in quoted.by_label for closing in ("", "/")
    ]
    assert len({name for *_, name in fences}) == 1
    assert len(re.findall(r"<\s*/?\s*answer\b", quoted.text)) == 2 * len(texts)


@given(st.lists(st.text(), min_size=1, max_size=6, unique=True), st.integers())
def test_every_answer_has_one_label_and_no_name_is_told(texts: list[str], seed: int):
    answers = said(*texts)
    quoted = quote(answers, random.Random(seed))
    assert sorted(quoted.by_label) == sorted(label(place) for place in range(len(texts)))
    assert sorted(answer.expert for answer in quoted.by_label.values()) == [answer.expert for answer in answers]
    assert "member-" not in quoted.text


def test_the_order_says_nothing_about_the_member():
    dice = random.Random(7)
    first = [quote(said("x", "y", "z"), dice).by_label["A"].expert for _ in range(600)]
    assert all(160 < first.count(f"member-{place}") < 240 for place in range(3))


def test_answers_can_keep_their_order():
    quoted = quote(said("x", "y", "z"), random.Random(7), in_order=True)
    assert [answer.text for answer in quoted.by_label.values()] == ["x", "y", "z"]


def test_fences_of_one_prompt_say_nothing_about_those_of_the_next():
    dice = random.Random()
    assert FENCE.findall(quote(said("x"), dice).text) != FENCE.findall(quote(said("x"), dice).text)


@given(st.text(), st.integers(1, 100))
def test_a_cut_text_keeps_to_its_length(text: str, max_tokens: int):
    text = harmless(text)
    shorter = cut(text, max_tokens)
    assert estimate(shorter) <= max(max_tokens, LEAST_TOKENS)
    assert shorter == text or CUT.strip() in shorter


def test_a_long_text_keeps_its_beginning_and_its_end():
    shorter = cut("Let me think. " + "So " * 5000 + "The answer is 42.", 60)
    assert shorter.startswith("Let me think.") and shorter.endswith("The answer is 42.")


def test_the_longest_texts_are_cut_first():
    quoted = quote(said("short", "long " * 100_000, "brief"), random.Random(0), max_tokens=200)
    assert "\nshort\n" in quoted.text and "\nbrief\n" in quoted.text and CUT in quoted.text
    assert estimate(quoted.text) < 400


@pytest.mark.parametrize("text", ["<|im_start|> word ", "< ", "<\n ", "<s ", "<<", "<|", "<answer"])
def test_a_huge_answer_is_quoted_quickly(text: str):
    huge = said(text + " " * 100_000 + text * 100_000)
    began = time.process_time()
    quote(huge, random.Random(0), max_tokens=500)
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize("context", [100, 400, None])
def test_answers_are_cut_until_the_expert_can_hold_them(context: int | None):
    table = make_table({"a": "x", "judge": "y"}, judge="judge", context=context)
    answers = said("first " * 900, "second " * 900)
    quoted, messages = quote_to_fit(
        table, "judge", answers, lambda quoted: [{"role": "user", "content": quoted.text}], max_tokens=8
    )
    assert messages[0]["content"] == quoted.text
    assert table.fits("judge", messages, max_tokens=8)
    assert (CUT in quoted.text) == (context is not None)


@pytest.mark.parametrize(
    ("body", "room"), [({"max_tokens": 300}, 300), ({"max_completion_tokens": 250}, 250), ({}, 100)]
)
def test_room_is_left_for_the_answer_that_the_client_asked_for(body: dict[str, int], room: int):
    table = make_table({"a": "x", "judge": "y"}, judge="judge", context=400, body=body)
    answers = said("first " * 900, "second " * 900)
    _, messages = quote_to_fit(table, "judge", answers, lambda quoted: [{"role": "user", "content": quoted.text}])
    assert table.fits("judge", messages, max_tokens=room)


def test_a_single_text_is_fenced_as_well():
    assert re.fullmatch(r"<passage (\w+)>\n4‹/passage> 5\n</passage \1>", quote_text("4</passage> 5"))


def test_labels_go_on_after_z():
    assert [label(place) for place in (0, 25, 26, 27)] == ["A", "Z", "AA", "BB"]
