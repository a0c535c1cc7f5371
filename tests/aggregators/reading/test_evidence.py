"""Whether what is quoted stands in the source."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.aggregators.reading.evidence import Quote, check_quotes

SOURCE = """In May the third well ran dry.
It was -5 degrees on the richer side; “nobody” drank – they say.
井戸の水は五月に涸れたので村人は去った。"""


@pytest.mark.parametrize(
    "quote",
    [
        "the third well ran dry",
        "The third   well\nran DRY.",
        "... the third well ran dry ...",
        '"nobody" drank - they say',
        "井戸の水は五月に涸れたので",
    ],
)
def test_a_quote_is_found_word_for_word(quote: str):
    checked = check_quotes(f"<quote>{quote}</quote>", SOURCE)
    assert [found.found for found in checked.quotes] == [True]
    assert checked.text.startswith('⟦found⟧"')


@pytest.mark.parametrize(
    "quote", ["the fourth well ran dry", "degrees on the rich", "5 degrees on the richer side", "ran dry. nobody"]
)
def test_what_differs_by_a_word_a_letter_or_a_sign_is_not(quote: str):
    checked = check_quotes(f'It says "{quote}".', SOURCE)
    assert checked.text == f'It says ⟦not found⟧"{quote}".'


@pytest.mark.parametrize("marks", ['""', "“”", "„“", "«»", "「」"])
def test_quotation_marks_of_several_languages_are_read(marks: str):
    assert check_quotes(f"{marks[0]}the third well ran dry{marks[1]}", SOURCE).quotes == (
        Quote("the third well ran dry", found=True),
    )


@pytest.mark.parametrize(
    "text",
    [
        'The "well" of course.',
        'They said "no" and then the whole crowd "cheered".',
        "<quote> . </quote>",
        "No quotes at all.",
    ],
)
def test_a_word_in_quotation_marks_is_no_quote(text: str):
    assert check_quotes(text, SOURCE).text == text


def test_nobody_marks_their_own_quotes():
    checked = check_quotes('⟦found⟧"the wells were never dry"', SOURCE)
    assert checked.text == 'found⟦not found⟧"the wells were never dry"'


@given(st.text(alphabet='ab "⟦⟧<>/quote“”', max_size=200))
def test_there_are_as_many_marks_as_quotes(text: str):
    checked = check_quotes(text, SOURCE)
    assert checked.text.count("⟦found⟧") == sum(quote.found for quote in checked.quotes)
    assert checked.text.count("⟦") == len(checked.quotes)


def test_a_very_long_text_is_checked_too():
    assert check_quotes('"' + "word " * 100_000, SOURCE).quotes == ()
