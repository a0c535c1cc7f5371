"""Decisions that wait to be written: in order, in pieces, and never more than memory should hold."""

import pytest

from orchestrator.ledger import schema
from orchestrator.ledger.pending import PAGE_BYTES, PAGE_ROWS, Pending, Row
from tests.support.ledger import decision


def ids(page):
    return [row.id for row in page]


def test_what_waits_comes_in_the_order_in_which_it_was_made_and_in_pieces():
    pending = Pending()
    for i in range(2 * PAGE_ROWS + 1):
        pending.add(decision(f"sw-{i}"))
    pages = list(pending.pages())
    assert [len(page) for page in pages] == [PAGE_ROWS, PAGE_ROWS, 1]
    assert ids(pages[0] + pages[1] + pages[2]) == [f"sw-{i}" for i in range(2 * PAGE_ROWS + 1)]


def test_long_texts_make_short_pieces():
    pending = Pending()
    for i in range(5):
        pending.add(decision(f"sw-{i}", text="x" * (PAGE_BYTES // 2 - 2_000)))
    assert [len(page) for page in pending.pages()] == [2, 2, 1]


def test_one_longer_than_a_piece_is_a_piece():
    pending = Pending()
    for name, size in (("sw-a", 1), ("sw-b", 2 * PAGE_BYTES), ("sw-c", 1)):
        pending.add(decision(name, text="x" * size))
    assert [ids(page) for page in pending.pages()] == [["sw-a"], ["sw-b"], ["sw-c"]]


def test_what_is_stored_waits_no_more_though_others_came_meanwhile():
    pending = Pending()
    pending.add(decision("sw-1"))
    pages = pending.pages()
    page = next(pages)
    pending.add(decision("sw-2"))
    pending.remove(page)
    assert (next(pages, None), len(pending), "sw-1" in pending, "sw-2" in pending) == (None, 1, False, True)


def test_one_that_was_recorded_again_while_it_was_written_is_written_again():
    pending = Pending()
    pending.add(decision("sw-1", status=0))
    page = next(pending.pages())
    pending.add(decision("sw-1", status=200))
    pending.remove(page)
    assert pending.get("sw-1").status == 200


@pytest.mark.parametrize("bounds", [{"max_rows": 3}, {"max_bytes": 35_000}], ids=["rows", "bytes"])
def test_without_room_the_oldest_go_and_are_counted(bounds):
    pending = Pending(**bounds)
    for i in range(5):
        pending.add(decision(f"sw-{i}", text="x" * 10_000))
    assert ids(next(pending.pages())) == ["sw-2", "sw-3", "sw-4"]
    assert pending.lost == 2


def test_what_is_changed_later_is_kept_as_it_was():
    pending = Pending()
    made = decision("sw-1")
    pending.add(made)
    made.status = 502
    assert pending.get("sw-1").status == 200


def test_a_row_has_the_columns_of_its_table_in_their_order():
    assert Row._fields == tuple(schema.decisions.columns.keys())  # drivers take them by their places
