"""Who wins, and whether routing pays, in numbers and in words."""

from dataclasses import replace

import pytest

from evals.reports.averages import averaged
from evals.reports.columns import COLUMNS
from evals.reports.texts import fixed, gain_text, headline_texts, points, shown, verdict_text
from evals.reports.verdicts import summed_up
from evals.sweeps.nouns import Sweep
from evals.sweeps.summary import summary
from routers.training.evaluation import Interval
from tests.support.sweeps import sweep

SWEEP = sweep()
POOLED = summary(SWEEP.rows)
LINES = averaged(SWEEP, POOLED)


def only(*routers, data=None):
    return [line for line in LINES if line.router in routers and data in (None, line.case.data)]


def with_gain(low, mean, high, p_value, lambda_=0.0):
    best = only("sharp", data="free")[0]
    values = {**best.values, "p_adjusted": p_value}
    return replace(best, lambda_=lambda_, gain=Interval(mean, low, high), values=values)


def test_the_headline_is_the_best_router_over_all_data_sets():
    headline = summed_up(LINES, POOLED)
    assert (headline.router, headline.num_routers, headline.num_data) == ("sharp", 4, 2)
    assert [verdict.pays for verdict in headline.verdicts] == ["yes", "yes"]
    gains = [line.gain.mean for line in only("sharp") if line.lambda_ == 0]
    assert headline.gain.mean == pytest.approx(sum(gains) / 2, abs=1e-6)


def test_the_headline_of_one_data_set_is_its_gain():
    headline = summed_up(only("sharp", "best_single", data="free"), [])
    assert headline.gain == only("sharp", data="free")[0].gain
    assert headline_texts(headline)[1] == "Routing pays here."


def test_without_routers_there_is_no_winner():
    headline = summed_up(only("random"), [])
    assert headline.router is None
    assert headline_texts(headline) == ("No router has been measured yet.",)


def test_a_sweep_without_rows_has_no_winner():
    assert summed_up(averaged(Sweep((0.0,), {}, {}, ()), []), []).router is None


@pytest.mark.parametrize(
    ("gain", "p_value", "pays"),
    [
        ((0.01, 0.02, 0.03), 0.01, "yes"),
        ((0.01, 0.02, 0.03), None, "yes"),
        ((0.01, 0.02, 0.03), 0.2, "unclear"),
        ((-0.01, 0.02, 0.03), 0.01, "unclear"),
        ((-0.03, -0.02, -0.01), 0.01, "no"),
    ],
)
def test_routing_pays_where_interval_and_p_value_say_so(gain, p_value, pays):
    assert summed_up([with_gain(*gain, p_value)], []).verdicts[0].pays == pays


def test_routing_pays_for_cost_where_it_gains_at_a_price():
    lines = [
        with_gain(-0.01, 0.00, 0.01, 0.9),
        with_gain(0.01, 0.02, 0.03, 0.001, lambda_=0.1),
        with_gain(0.01, 0.04, 0.06, 0.001, lambda_=1.0),
        with_gain(0.01, 0.09, 0.10, 0.02, lambda_=10.0),
    ]
    (verdict,) = summed_up(lines, []).verdicts
    assert (verdict.pays, verdict.priced.lambda_) == ("cost", 1.0), "0.02 is too much for one of three lambdas"
    assert "With λ at 1, sharp is at +4.0 points" in verdict_text(verdict)
    assert headline_texts(summed_up(lines, []))[1] == "Routing pays here once cost counts."


def test_a_verdict_says_what_the_same_reward_costs():
    paid, free = summed_up(LINES, POOLED).verdicts
    assert verdict_text(paid).startswith("Routing pays: by reward alone, sharp is at +10.1 points")
    assert verdict_text(paid).endswith("sharp has the best single expert's reward for 17% of the cost.")
    assert "cost" not in verdict_text(free)


def test_words_for_what_pays_only_in_part():
    headline = summed_up(LINES, POOLED)
    yes = headline.verdicts[1]
    no = replace(yes, best=with_gain(-0.02, -0.01, 0.01, 0.9), priced=None)
    cost = replace(no, priced=with_gain(0.01, 0.02, 0.03, 0.001, lambda_=1.0))

    def words(*verdicts):
        return headline_texts(replace(headline, verdicts=verdicts))[1]

    assert words(yes, no) == "Routing pays on 1 of 2 data sets."
    assert words(yes, cost) == "Routing pays on 1 of 2 data sets; on 1 more it pays once cost counts."
    assert words(no, cost).endswith("on any of 2 data sets; on 1 it pays once cost counts.")
    assert words(no, no).startswith("Routing is not shown to pay on any of 2 data sets")


def test_gains_have_a_sign_and_a_true_minus():
    assert gain_text(Interval(0.021, -0.004, 0.03)) == "+2.1 points (95% interval −0.4 to +3.0)"
    assert points(-0.00001) == "+0.0"
    assert fixed(-1.25, None) == "−1.25"
    assert fixed(896_312.4, None) == "896,312"


def test_costs_are_dollars_of_a_thousand_queries_or_the_unit_of_the_data():
    column = next(column for column in COLUMNS if column.name == "cost")
    line = replace(only("sharp", data="paid")[0], values={"cost": 0.00125})
    assert shown(column, line) == "1.25"
    assert shown(column, replace(line, cost_unit="tokens", values={"cost": 4120.4})) == "4,120"
    assert shown(column, replace(line, values={"cost": None})) == "–"
