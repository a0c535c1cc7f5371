"""The files of a report."""

from dataclasses import replace

import pytest

from evals.reports.markdown import markdown
from evals.reports.page import page
from evals.reports.views import view
from evals.reports.writing import write_report
from tests.support.sweeps import sweep

MADE = sweep()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "out"
    assert write_report(MADE, folder) == folder / "report.html"
    return folder


def test_a_page_a_markdown_file_and_an_image_for_each_case(folder):
    assert {path.name for path in folder.iterdir()} == {
        "report.html",
        "report.md",
        "frontier-paid.png",
        "gains-free.png",
    }
    assert (folder / "frontier-paid.png").read_bytes().startswith(b"\x89PNG")


def test_images_of_an_earlier_report_go(tmp_path):
    for name in ("frontier-old.png", "gains-old.png", "mine.png"):
        (tmp_path / name).touch()
    write_report(sweep(seeds=(0,)), tmp_path)
    assert {path.name for path in tmp_path.glob("*.png")} == {"frontier-paid.png", "gains-free.png", "mine.png"}


def test_data_under_attack_are_told_apart():
    made = sweep(seeds=(0,), attacks=("broken_expert",))
    text = markdown(view(made), title="T")
    assert (
        "## free under broken\\_expert\n\nUnder attack: the expert that was best in training earns 0 afterwards."
        in text
    )
    html = page(view(made), title="T")
    assert "Routing pays on 2 of 2" in text and "Routing pays on 2 of 2" in html
    assert html.count("<p>Under attack: the expert") == 2


def test_what_is_never_reached_is_said_to_be_so():
    rows = tuple(replace(row, cost_to_match=float("inf")) if row.cost else row for row in MADE.rows)
    html = page(view(replace(MADE, rows=rows)), title="T")
    assert '<td class="number">never</td>' in html and "inf%" not in html


def test_the_page_fits_in_a_mail(folder):
    assert (folder / "report.html").stat().st_size < 6_000_000


def test_markdown_has_the_verdict_and_a_table_for_each_data_set(folder):
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "sharp does best of 4 routers: +12.8 points" in text
    rows = [line for line in text.splitlines() if line.startswith("| sharp |")]
    assert len(rows) == 2
    assert rows[0].split(" | ")[1:3] == ["83.1", "+10.1 [+3.3, +16.9]"]
    assert "| *group\\_best* |" in text


def test_markdown_columns_that_say_nothing_are_left_out(folder):
    text = (folder / "report.md").read_text(encoding="utf-8")
    paid, free = (line for line in text.splitlines() if line.startswith("| Router |"))
    assert "Cost" in paid and "Cost" not in free


def test_names_in_markdown_break_no_table():
    tested = {
        replace(key, data="a|b <i>"): replace(one, setting=replace(key, data="a|b <i>"))
        for key, one in MADE.tested.items()
    }
    runs = {(replace(key, data="a|b <i>"), router): run for (key, router), run in MADE.runs.items()}
    rows = tuple(replace(row, data="a|b <i>") for row in MADE.rows if row.data == "paid")
    assert "## a|b \\<i\\>" in markdown(view(replace(MADE, tested=tested, runs=runs, rows=rows)), title="T")
