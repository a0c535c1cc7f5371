"""Who speaks when in a discussion, and whom each of them has heard."""

from __future__ import annotations

import random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.aggregators.talking.paradigms import Paradigm, waves

every_paradigm = pytest.mark.parametrize("paradigm", get_args(Paradigm))


def heard(paradigm: Paradigm, speakers: str) -> list[dict[str, str]]:
    found = waves(paradigm, tuple(speakers), random.Random(0))
    return [{speaker: "".join(sorted(others)) for speaker, others in wave.items()} for wave in found]


@pytest.mark.parametrize(
    ("paradigm", "expected"),
    [
        ("memory", [{"a": "bc", "b": "ac", "c": "ab"}]),
        ("report", [{"b": "a", "c": "a"}, {"a": "bc"}]),
        ("relay", [{"a": "c"}, {"b": "a"}, {"c": "b"}]),
        ("debate", [{"a": "bc", "b": "ac", "c": "ab"}]),
    ],
)
def test_three_speakers(paradigm: Paradigm, expected: list[dict[str, str]]):
    assert heard(paradigm, "abc") == expected


@every_paradigm
@given(st.integers(1, 9))
def test_everybody_speaks_once_and_hears_only_others(paradigm: Paradigm, count: int):
    speakers = "abcdefghi"[:count]
    found = heard(paradigm, speakers)
    assert sorted(speaker for wave in found for speaker in wave) == list(speakers)
    assert all(speaker not in others for wave in found for speaker, others in wave.items())
    assert count == 1 or all(others for wave in found for others in wave.values())


@given(st.integers(2, 9), st.integers(0, 9))
def test_in_a_debate_two_or_three_hear_each_other(count: int, seed: int):
    (wave,) = waves("debate", tuple("abcdefghi"[:count]), random.Random(seed))
    assert all(len(others) in (1, 2) for others in wave.values())
    assert all(speaker in wave[other] for speaker, others in wave.items() for other in others)
    assert sum(len(others) == 2 for others in wave.values()) == (3 if count % 2 else 0)
