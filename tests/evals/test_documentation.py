import gettext
import struct
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.documentation import LONGEST, docstring_passages, read_catalog, read_passages
from routers.data.splits import is_held_out

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\x04"), max_size=20)


def catalog(messages, order="<"):
    """A catalog as msgfmt writes it, without a hash table."""
    pairs = sorted((source.encode(), target.encode()) for source, target in messages.items())
    start = 28 + 16 * len(pairs)
    tables, data = [b"", b""], b""
    for column in (0, 1):
        for pair in pairs:
            tables[column] += struct.pack(f"{order}2I", len(pair[column]), start + len(data))
            data += pair[column] + b"\0"
    head = struct.pack(f"{order}7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0)
    return head + b"".join(tables) + data


@pytest.mark.parametrize("order", ["<", ">"])
@given(st.dictionaries(TEXTS.filter(bool), TEXTS))
def test_catalogs_are_read_as_gettext_reads_them(order, messages):
    data = catalog({"": "Content-Type: text/plain; charset=UTF-8\n", **messages}, order)
    assert dict(read_catalog(data)) == messages
    translations = gettext.GNUTranslations(BytesIO(data))
    assert all(translations.gettext(source) == target for source, target in messages.items())


def test_plurals_contexts_and_the_header_are_left_out():
    messages = {"": "Language: de\n", "menu\x04Open": "Öffnen", "one file\0%d files": "eine Datei\0%d Dateien"}
    assert dict(read_catalog(catalog(messages))) == {"Open": "Öffnen", "one file": "eine Datei"}


def test_docstrings_ask_by_their_first_sentence():
    found = {passage.question: passage.text for passage in docstring_passages("http")}
    assert all(0 < len(text) <= LONGEST for text in found.values())
    assert not any(question in text for question, text in found.items())
    assert all(question.endswith((".", "?", "!")) for question in found)


def test_a_package_that_is_not_installed_has_nothing():
    assert list(docstring_passages("no_such_package")) == []


def test_no_question_and_no_text_stands_for_two_passages_of_a_collection():
    passages = read_passages(1_000, packages=["http"], languages=["de"])
    assert len({(passage.collection, passage.question) for passage in passages}) == len(passages)
    assert len({(passage.collection, passage.text) for passage in passages}) == len(passages)


def test_who_is_sampled_says_nothing_of_who_is_held_out():
    sampled = read_passages(10, packages=["email"], languages=[])
    assert sum(is_held_out(passage.question, 0.2) for passage in sampled) < 5


def test_so_many_of_a_collection_are_taken_and_always_the_same():
    five = read_passages(5, packages=["http", "no_such_package"], languages=[])
    assert [passage.collection for passage in five] == ["http"] * 5
    assert five == read_passages(6, packages=["http"], languages=[])[:5]
