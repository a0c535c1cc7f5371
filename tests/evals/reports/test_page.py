"""The page as a text: complete, nothing from elsewhere, and what comes of the data escaped."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from evals.reports.page import page
from evals.reports.views import view
from tests.support.sweeps import HOSTILE, sweep

SECTIONS = ("summary", "cases", "table", "what-if", "routers", "method")


class Parsed(HTMLParser):
    """Tags with their attributes, texts outside of scripts, and scripts."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self.scripts, self._inside = [], [], [], None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside = (tag, dict(attributes)) if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        (self.texts if self._inside is None else self.scripts).append(data)

    def ids(self):
        return [attributes["id"] for _, attributes in self.tags if "id" in attributes]


def with_hostile_names(made):
    """A sweep whose queries, groups and notes try to be markup; every query may be shown."""
    tested = {}
    for key, one in made.tested.items():
        groups = tuple(f"<i>{group}</i>" for group in one.table.groups)
        tested[key] = replace(one, table=replace(one.table, queries=(HOSTILE,) * len(one.table), groups=groups))
    return replace(made, tested=tested, notes=(HOSTILE,))


@pytest.fixture(scope="module")
def html():
    return page(view(with_hostile_names(sweep())), title="A & B <test>")


@pytest.fixture(scope="module")
def parsed(html):
    return Parsed(html)


def test_all_sections_and_a_page_for_each_router(parsed):
    assert set(SECTIONS) <= set(parsed.ids())
    assert {f"router-{i}" for i in range(1, 5)} <= set(parsed.ids())
    assert len(parsed.ids()) == len(set(parsed.ids()))


def test_links_lead_to_places_in_the_page(parsed):
    targets = {attributes["href"] for tag, attributes in parsed.tags if tag == "a"}
    assert {target.removeprefix("#") for target in targets} <= set(parsed.ids())


def test_nothing_is_loaded_from_elsewhere(parsed):
    loaded = [
        attributes[name]
        for _, attributes in parsed.tags
        for name in ("src", "srcset", "data", "action")
        if name in attributes
    ]
    styles = [text for text in parsed.scripts if "prefers-color-scheme: dark" in text and "--paper" in text]
    assert loaded == []
    assert [attributes["href"] for tag, attributes in parsed.tags if tag == "link"] == ["data:,"]
    assert not any(re.search(r"url\(|@import", text) for text in styles)


def test_the_page_forbids_itself_to_load_anything(parsed):
    policy = next(a["content"] for _, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_hostile_text_stays_text(html, parsed):
    assert HOSTILE not in html
    assert sum(HOSTILE in text for text in parsed.texts) > 4
    assert "A & B <test>" in parsed.texts
    assert not [tag for tag, attributes in parsed.tags if tag in ("img", "b") and ("onerror" in attributes)]


def test_data_in_scripts_is_json_that_ends_no_script(parsed):
    data = {a["id"]: i for i, (tag, a) in enumerate(parsed.tags) if tag == "script" and "id" in a}
    assert {"results-data", "what-if-data"} < set(data)
    texts = [text for text in parsed.scripts if text.lstrip().startswith("{")]
    assert len(texts) == len(data)
    for text in texts:
        assert json.loads(text, parse_constant=pytest.fail)
        assert "<" not in text


def test_plotly_is_inside_once(html):
    assert html.count("plotly.js v") == 1


def test_an_empty_sweep_has_a_page():
    made = sweep()
    assert "No router has been measured yet." in page(view(replace(made, rows=(), runs={}, tested={})), title="Empty")
