"""A candidate beside what was live: what is concluded, and what is not."""

import numpy as np
import pytest

from evals.offpolicy.comparing import compare
from tests.support.decisions import BAD, GOOD, knowing, log_of, two_topics

N = 4_000
EVENLY = {"a": 0.5, "b": 0.5}


def test_a_candidate_that_knows_more_is_promoted():
    log = two_topics(N)
    compared = compare(log, knowing(N))
    assert compared.verdict == "promote"
    assert compared.live.mean == pytest.approx(log.rewards.mean())
    assert compared.live.low <= (GOOD + BAD) / 2 <= compared.live.high
    assert compared.candidate.low <= GOOD <= compared.candidate.high
    assert compared.difference.low <= (GOOD - BAD) / 2 <= compared.difference.high


def test_a_candidate_that_is_worse_is_not():
    compared = compare(two_topics(N), 1.0 - knowing(N))
    assert compared.verdict == "do not promote"
    assert compared.difference.high < 0


def test_one_that_does_the_same_gains_nothing():
    log = log_of(*[("a", 1.0, {"a": 1.0, "b": 0.0}), ("a", 0.0, {"a": 1.0, "b": 0.0})] * 100)
    compared = compare(log, np.tile([0.9, 0.1], (200, 1)))
    assert (compared.difference.mean, compared.difference.low, compared.difference.high) == (0.0, 0.0, 0.0)
    assert compared.verdict == "do not promote"


def test_too_few_decisions_say_how_many_more_there_must_be():
    compared = compare(two_topics(200), np.tile([0.9, 0.1], (200, 1)))
    assert compared.verdict == "not enough data"
    assert compared.reason.endswith(f"to show 0.005 takes about {compared.num_needed - 200:,} decisions more")
    assert compared.power < 0.1


def test_a_handful_is_never_enough():
    log = log_of(*[("a", 0.0, EVENLY), ("b", 1.0, EVENLY)] * 10)
    compared = compare(log, np.tile([0.1, 0.9], (20, 1)))
    assert compared.difference.low > 0
    assert compared.verdict == "not enough data"
    assert compared.reason.endswith("few decisions that count for much: 19 degrees of freedom, expected 30 or more")


def test_where_nothing_is_known_the_interval_spans_all_that_it_might_be():
    """Live always took `a`; of 400 decisions the candidate takes `b` in 100, about which the log says nothing."""
    log = log_of(*[("a", 0.5, {"a": 1.0, "b": 0.0})] * 400)
    scores = np.tile([0.9, 0.1], (400, 1))
    scores[:100] = 0.1, 0.9
    compared = compare(log, scores)
    assert compared.verdict == "not enough data"
    assert "25.0% of the candidate's choices had no chance of being made" in compared.reason
    assert compared.difference.low < -0.125
    assert compared.difference.high > 0.125
    assert compared.notes[0].startswith("the candidate would have chosen b 100 times")


def test_where_what_was_live_never_got_feedback_it_may_have_earned_anything():
    log = log_of(*[("a", 1.0, EVENLY), ("b", None, EVENLY)] * 200)
    compared = compare(log, np.tile([0.9, 0.1], (400, 1)))
    assert (compared.live.low, compared.live.high) == pytest.approx((0.5, 1.0), abs=0.06)
    assert compared.difference.high - compared.difference.low > 0.4


def test_a_gain_that_outweighs_all_that_is_unknown_is_promoted():
    known, unknown = [("a", 0.0, EVENLY), ("b", 1.0, EVENLY)] * 500, [("a", 0.0, {"a": 1.0, "b": 0.0})] * 20
    compared = compare(log_of(*known, *unknown), np.tile([0.1, 0.9], (1_020, 1)))
    assert compared.overlap.share_unsupported == pytest.approx(20 / 1_020)
    assert compared.verdict == "promote"


def test_only_feasible_experts_are_chosen():
    log = log_of(*[("a", 1.0, {"a": 0.5, "b": 0.5}), ("a", 1.0, {"a": 1.0})] * 100)
    compared = compare(log, np.tile([0.1, 0.9], (200, 1)))
    assert compared.overlap.chosen == {"a": 100, "b": 100}


def test_costs_count_with_lambda():
    """`b` is as good and costs a cent: at a lambda of 0.1 choosing `a` gains half of 0.1."""
    log = log_of(*[(name, 1.0, EVENLY, cost) for name, cost in (("a", 0.0), ("b", 0.01))] * 500)
    scores, cents = np.tile([0.50, 0.55], (1_000, 1)), np.tile([0.0, 1.0], (1_000, 1))
    assert compare(log, scores, cents=cents).overlap.chosen == {"b": 1_000}
    compared = compare(log, scores, lambda_=0.1, cents=cents)
    assert compared.overlap.chosen == {"a": 1_000}
    assert compared.difference.mean == pytest.approx(0.05)
    assert compared.verdict == "promote"


def test_experts_whose_answers_get_feedback_at_different_rates_are_compared_fairly():
    """The mean of what was scored would be the better expert's: its answers get feedback ten times as often."""
    log = two_topics(30_000, feedback=(0.5, 0.05))
    compared = compare(log, knowing(30_000))
    assert compared.live.low <= (GOOD + BAD) / 2 <= compared.live.high
    assert compared.candidate.low <= GOOD <= compared.candidate.high
    assert compared.notes[-1].endswith("assumed is that good and bad answers of an expert get it equally often")


def test_a_model_that_knows_more_than_the_means_narrows_the_interval():
    log = two_topics(N)
    plain, informed = compare(log, knowing(N)), compare(log, knowing(N), q_hat=BAD + (GOOD - BAD) * (knowing(N) > 0.5))
    width, narrower = (c.candidate.high - c.candidate.low for c in (plain, informed))
    assert narrower < width
    assert informed.candidate.low <= GOOD <= informed.candidate.high


@pytest.mark.parametrize("log", [two_topics(1), two_topics(50, feedback=(0.0, 0.0))], ids=["one", "without feedback"])
def test_too_little_to_compare_is_an_error(log):
    with pytest.raises(ValueError, match="2 decisions or more, some with feedback"):
        compare(log, knowing(len(log)))


@pytest.mark.parametrize("scores", [np.full((10, 2), np.nan), np.ones((10, 3))])
def test_scores_that_do_not_fit_are_an_error(scores):
    with pytest.raises(ValueError, match="finite scores of shape"):
        compare(two_topics(10), scores)
