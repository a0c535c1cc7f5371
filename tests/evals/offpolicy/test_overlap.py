"""What a log can't say, told in words."""

import numpy as np
import pytest

from evals.offpolicy.overlap import overlap
from tests.support.decisions import log_of, two_topics

EVENLY = {"a": 0.5, "b": 0.5}


def column(name, log):
    return np.full(len(log), log.experts.index(name))


def test_choices_that_had_no_chance_are_counted_and_named():
    log = log_of(*[("a", 1.0, {"a": 1.0, "large": 0.0})] * 812, *[("a", 1.0, EVENLY)] * 188)
    choice = np.where(np.arange(1000) < 812, log.experts.index("large"), log.experts.index("b"))
    found = overlap(log, choice)
    assert found.warnings[0] == (
        "the candidate would have chosen large 812 times where it was never asked: nothing is known about those"
    )
    assert found.unsupported["large"] == 812
    assert found.chosen == {"large": 812, "b": 188}


def test_an_expert_that_never_got_feedback_is_unknown_too():
    log = log_of(*[("a", 1.0, EVENLY), ("b", None, EVENLY)] * 20)
    found = overlap(log, column("b", log))
    assert (found.share_unsupported, found.unsupported) == (1.0, {"b": 40})
    assert overlap(log, column("a", log)).share_unsupported == 0.0


def test_the_effective_sample_size_counts_the_candidates_choices():
    log = log_of(*[("a", 1.0, EVENLY), ("b", 0.0, EVENLY)] * 50)
    found = overlap(log, column("a", log))
    assert (found.effective_sample_size, found.max_weight, found.warnings) == (50.0, 2.0, ())


def test_missing_feedback_weighs_more():
    log = two_topics(1_000, feedback=(0.5, 1.0))
    assert overlap(log, column("a", log)).max_weight == pytest.approx(4.0, rel=0.2)


def test_a_log_that_says_little_is_warned_of():
    rare = {"a": 0.99, "b": 0.01}
    log = log_of(*[("a", 1.0, rare)] * 99, ("b", 1.0, rare))
    found = overlap(log, column("b", log))
    assert found.warnings == (
        "100 decisions say no more of the candidate than 1 of its own would",
        "one decision counts for 100% of what is known of the candidate",
    )


def test_a_choice_that_was_not_feasible_is_an_error():
    log = log_of(("a", 1.0, {"a": 1.0}), ("b", 1.0, {"b": 1.0}))
    with pytest.raises(ValueError, match="among the experts that could have been chosen"):
        overlap(log, column("a", log))
