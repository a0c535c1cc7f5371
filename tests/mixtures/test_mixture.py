"""Which region a query belongs to, and what it is preceded by."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.mixtures.mixture import Demonstration, Prompt, fitting, instruction_tokens
from tests.support.mixtures import CAPITALS, ENCODER, INSTRUCTIONS, SUMS, mixture


def prompt_for(text, count=2, room_tokens=1000):
    return mixture().prompt_for(ENCODER.encode([text])[0], count=count, room_tokens=room_tokens)


@pytest.mark.parametrize(("text", "region"), [("What is 8 + 9?", 0), ("Name the capital city of Chile", 1)])
def test_a_query_gets_its_regions_instruction_and_demonstrations(text, region):
    prompt = prompt_for(text)
    assert prompt.instruction == INSTRUCTIONS[region]
    assert set(prompt.demonstrations) < set((SUMS, CAPITALS)[region])


def test_the_demonstration_that_is_most_like_the_query_stands_last():
    assert prompt_for("Name the capital city of Japan?", count=4).demonstrations[-1].answer == "Tokyo"


def test_without_room_there_are_fewer_demonstrations_down_to_none():
    room = instruction_tokens(INSTRUCTIONS[1])
    text = "Name the capital city of Japan"
    assert prompt_for(text, room_tokens=room).demonstrations == ()
    japan = CAPITALS[3]
    assert prompt_for(text, count=4, room_tokens=room + japan.tokens).demonstrations == (japan,)
    assert prompt_for(text, room_tokens=-5).demonstrations == ()


def test_demonstrations_are_turns_between_the_system_message_and_the_conversation():
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "And Chile?"}]
    before = [dict(message) for message in messages]
    assert Prompt("Name it.", CAPITALS[:1]).before(messages) == [
        {"role": "system", "content": "Name it.\n\nBe brief."},
        {"role": "user", "content": "Name the capital city of Peru"},
        {"role": "assistant", "content": "Lima"},
        {"role": "user", "content": "And Chile?"},
    ]
    assert messages == before


demonstrations = st.lists(st.builds(Demonstration, st.text(max_size=40), st.text(max_size=40)), max_size=6)


@given(demonstrations, st.integers(-10, 200))
def test_what_is_shown_fits_whole_and_in_order(nearest_first, room):
    kept = fitting(nearest_first, room)
    assert sum(each.tokens for each in kept) <= max(room, 0)
    remaining = iter(reversed(nearest_first))
    assert all(any(each is other for other in remaining) for each in kept)
