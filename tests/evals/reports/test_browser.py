"""The page in a real browser: it runs without errors and requests, fits, sorts, filters, and chooses again. Needs Chromium."""

import os
import shutil

import numpy as np
import pytest

from evals.reports.writing import write_report
from evals.sweeps.nouns import Setting
from routers.training.evaluation import choose, earned
from tests.support.sweeps import sweep

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

SWEEP = sweep()
OVERFLOW = "document.documentElement.scrollWidth - innerWidth"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return write_report(SWEEP, tmp_path_factory.mktemp("report")).as_uri()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], env={**os.environ, "LIBGL_ALWAYS_SOFTWARE": "1"}
        )
        yield found
        found.close()


def opening(browser, address, complaints, **options):
    """A new page; whatever it complains of or asks for goes to `complaints`."""
    page = browser.new_page(**options)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: request.url.startswith("http") and complaints.append(request.url))
    page.goto(address)
    return page


@pytest.fixture(scope="module")
def wide(browser, address):
    complaints = []
    page = opening(browser, address, complaints, viewport={"width": 1280, "height": 900})
    yield page
    page.close()
    assert complaints == []


@pytest.fixture
def page(wide):
    """The overview, its controls as they were in the beginning."""
    wide.evaluate("location.hash = ''")
    wide.evaluate("document.querySelectorAll('form').forEach((form) => form.reset())")
    wide.evaluate("fill(); open()")
    return wide


def column(page, index):
    return page.locator(f"#results tbody tr > :nth-child({index})").all_inner_texts()


def what_if(page, router):
    """Reward, gain and cost as shown."""
    row = page.locator("#what-if-results tbody tr").filter(has=page.locator("th", has_text=router)).first
    return [text.replace("−", "-") for text in row.locator("td.number").all_inner_texts()]


def slide(page, selector, value):
    page.locator(selector).evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input', { bubbles: true })); }", value
    )


@pytest.mark.parametrize("width", [360, 1280])
def test_every_figure_is_drawn_and_nothing_sticks_out(browser, address, width):
    complaints = []
    page = opening(browser, address, complaints, viewport={"width": width, "height": 900}, color_scheme="light")
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate("drawAll()")
        assert page.evaluate(
            "[...document.querySelectorAll('.chart')].every((chart) => chart.querySelector('.main-svg'))"
        )
        assert page.evaluate(OVERFLOW) == 0
    page.evaluate("location.hash = 'router-1'")
    page.locator("#router-1 h2").wait_for()
    assert page.evaluate(OVERFLOW) == 0
    page.close()
    assert complaints == []


def test_the_scheme_follows_the_system_and_the_button(page):
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(colour)
    assert dark != light
    button = page.get_by_role("button", name="Colour scheme")
    for name, expected in (("Light", light), ("Dark", dark), ("Auto", dark)):
        button.click()
        assert (button.inner_text(), page.evaluate(colour)) == (name, expected)
    page.emulate_media(color_scheme="light")


def test_the_table_sorts_by_keyboard(page):
    button = page.locator("#results thead").get_by_role("button", name="Cost", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    header = page.locator("#results thead th[aria-sort=ascending]")
    assert header.inner_text().strip() == "Cost"
    costs = [float(text) for text in column(page, 4)]
    assert costs == sorted(costs)
    page.keyboard.press("Enter")
    assert [float(text) for text in column(page, 4)] == costs[::-1]


def test_the_table_filters(page):
    assert len(column(page, 1)) == 9
    page.locator("#filters [name=baselines]").uncheck()
    assert sorted(column(page, 1)) == ["blurred", "constant", "noisy", "sharp"]
    page.locator("#filters [name=data]").select_option("all")
    page.locator("#filters [name=lambda]").select_option("all")
    assert len(column(page, 1)) == 4 * (4 + 1)
    short = page.locator("#results thead th").count()
    page.locator("#filters [name=every]").check()
    assert page.locator("#results thead th").count() > short


def test_the_what_if_begins_with_what_was_measured(page):
    tested, run = SWEEP.tested[Setting("paid")], SWEEP.runs[Setting("paid"), "blurred"]
    choice = choose(run.predicted)
    got, usual = earned(tested.table, choice), earned(tested.table, tested.best_single())
    cost = tested.table.costs[np.arange(len(choice)), choice].mean() * 1000
    reward, gain, shown_cost = what_if(page, "blurred")
    assert (reward, gain) == (f"{got.mean() * 100:.1f}", f"{(got - usual).mean() * 100:.1f}")
    assert float(shown_cost) == pytest.approx(cost, rel=1e-3)


def test_sliders_choose_again_as_the_router_would(page):
    slide(page, "#what-if-form [name=lambda]", 90)
    slide(page, "#prices .price:nth-child(2) [type=range]", 10)
    lambda_, price = 2 * 10 ** (5 * -10 / 99), np.array([1, 10**0.5, 1, 1])
    tested, run = SWEEP.tested[Setting("paid")], SWEEP.runs[Setting("paid"), "noisy"]
    choice = choose(run.predicted, (tested.cents * price).astype(np.float32), lambda_)
    at = np.arange(len(choice)), choice
    reward, _, cost = what_if(page, "noisy")
    assert reward == f"{tested.table.rewards[at].mean() * 100:.1f}"
    assert float(cost) == pytest.approx((tested.table.costs * price)[at].mean() * 1000, rel=1e-3)
    page.get_by_role("button", name="Reset", exact=True).click()
    assert what_if(page, "noisy")[0] != reward


def test_an_expert_can_leave_the_fleet(page):
    page.get_by_role("checkbox", name="large is in the fleet").uncheck()
    tested, run = SWEEP.tested[Setting("paid")], SWEEP.runs[Setting("paid"), "constant"]
    choice = run.predicted[:, :3].argmax(axis=1)
    assert what_if(page, "constant")[0] == f"{earned(tested.table, choice).mean() * 100:.1f}"


def test_prices_can_be_made_up_where_costs_are_not_known(page):
    page.locator("#what-if-form [name=case]").select_option("free")
    assert "Costs are not known here" in page.locator("#price-legend").inner_text()
    before = what_if(page, "sharp")
    slide(page, "#what-if-form [name=lambda]", 80)
    slide(page, "#prices .price:nth-child(1) [type=range]", 20)
    assert what_if(page, "sharp") != before


def test_a_routers_page_stands_alone_and_leads_back(page):
    page.locator("#routers").get_by_role("link", name="blurred").click()
    page.locator("#router-2 h2").wait_for(state="visible")
    page.locator("#overview").wait_for(state="hidden")
    page.locator("#router-2").get_by_role("link", name="All routers").click()
    page.locator("#routers").wait_for(state="visible")


def test_print_opens_all_sections_and_drops_controls(page):
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("details.case:not([open])").count() == 0
    assert not page.locator("nav").is_visible()
    assert not page.locator("#filters").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details.case:not([open])").count() == 1
