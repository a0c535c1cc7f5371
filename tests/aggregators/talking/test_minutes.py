"""What was said in a discussion, drift and monopolies."""

from __future__ import annotations

import random

import pytest

from orchestrator.aggregators.base import MemberAnswer
from orchestrator.aggregators.talking.minutes import Minutes

QUESTION = "Which river flows through the capital of Austria?"
DRAFTS = [
    MemberAnswer("a", "The Danube flows through Vienna."),
    MemberAnswer("b", "The Inn."),
    MemberAnswer("c", "The Danube."),
]
ON_TOPIC = "Vienna is the capital, and the Danube is the river that flows through it; the Inn passes Innsbruck. Answer: the Danube"
OFF_TOPIC = (
    "Tomatoes like warm soil, plenty of compost and regular watering; prune the lower leaves early. Answer: tomatoes"
)
UNSPACED = "維也納是奧地利的首都，多瑙河流經維也納，因此答案是多瑙河。"


def minutes(*, max_share: float = 0.5, min_overlap: float = 0.1, drafts: list[MemberAnswer] = DRAFTS) -> Minutes:
    return Minutes(
        QUESTION, drafts, {}, max_tokens=500, min_overlap=min_overlap, max_share=max_share, dice=random.Random(0)
    )


@pytest.mark.parametrize(("text", "kept"), [(ON_TOPIC, True), (OFF_TOPIC, False), ("The Inn, surely.", True)])
def test_a_speech_that_has_drifted_is_left_out(text: str, kept: bool):
    said = minutes()
    assert said.add(1, MemberAnswer("a", text)) is kept
    assert (text in said.heard({"a"}, 1000)) is kept
    assert (said.latest["a"].text == text) is (text == ON_TOPIC)
    assert said.num_drifted == (not kept)


def test_drift_is_measured_in_scripts_without_spaces():
    said = minutes(drafts=[MemberAnswer("a", "多瑙河流經奧地利的首都維也納。"), MemberAnswer("b", "The Inn.")])
    assert said.add(1, MemberAnswer("b", UNSPACED))
    assert said.overlaps[1][0] > 0.5


@pytest.mark.parametrize(
    ("speech", "adopted"),
    [("Answer: the Inn", True), ("**Answer**: no river", True), ("The Danube", True), ("I agree.", False)],
)
def test_a_speech_is_a_draft_if_it_names_an_answer_or_ends_in_one_that_somebody_holds(speech: str, adopted: bool):
    said = minutes()
    said.add(1, MemberAnswer("b", speech))
    assert (said.latest["b"].text == speech) is adopted


def test_who_says_most_is_heard_in_as_many_words_as_the_others_use():
    said = minutes()
    long = "The Danube, and the river of the capital of Austria, " * 10
    for speaker, text in (("a", long), ("b", "The Inn, I think."), ("c", "The Danube, I think."), ("a", f"2nd {long}")):
        said.add(1, MemberAnswer(speaker, text))
    assert said.shares()["a"] > 0.9
    first, second = (speech.text for speech in said.speeches if speech.speaker == "a" and speech.turn)
    assert first == long
    assert len(second) < len(long) / 5


def test_equal_shares_of_two_are_no_monopoly():
    said = minutes(drafts=DRAFTS[:2])
    for speaker in "abab":
        said.add(1, MemberAnswer(speaker, ON_TOPIC))
    assert {speech.text for speech in said.speeches if speech.turn} == {ON_TOPIC}
    assert said.shares() == {"a": 0.5, "b": 0.5}


def test_speakers_have_numbers_by_lot_and_no_names():
    numbers = {
        tuple(Minutes("?", DRAFTS, {}, max_tokens=500, min_overlap=0, max_share=1, dice=random.Random(seed)).numbers)
        for seed in range(9)
    }
    assert len(numbers) > 1
    said = minutes().heard({"a", "b", "c"}, 100)
    assert all(f"Speaker {number}:" in said for number in (1, 2, 3))


def test_who_is_gone_is_heard_by_everybody():
    said = minutes()
    said.present.remove("b")
    assert "The Inn." in said.heard({"c"}, 100)
