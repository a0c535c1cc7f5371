"""Verdicts in words."""

from evals.active.base import Crossing, Verdict
from evals.active.words import Names, sentences

NAMES = Names(("small", "large", "odd"), ("law", "math"))


def said(verdict):
    return sentences(verdict, NAMES, delta=0.05, about="all queries like these")


def test_the_best_expert_is_named_and_how_sure_that_is():
    assert said(Verdict("best", standing=((1,),))) == (
        "best: large",
        "this is about all queries like these, and what is decided is wrong at most 5 times in 100",
    )


def test_who_is_still_in_the_race_is_told():
    assert said(Verdict("best", standing=((1, 0),)))[0] == "best: not decided yet, still in the race: large, small"


def test_each_group_has_a_line():
    first, second, _ = said(Verdict("best-by-group", standing=((0,), (2, 1))))
    assert first == "best in law: small"
    assert second == "best in math: not decided yet, still in the race: odd, large"


def test_a_ranking_says_what_it_takes_for_granted():
    order, assumed, _ = said(Verdict("ranking", ranking=(1, 0, 2), one_order=True))
    assert order == "ranking: large > small > odd"
    assert assumed.startswith("this takes for granted that")


def test_pairs_not_told_apart_are_named():
    lines = said(Verdict("ranking", ranking=(1, 0, 2), unsettled=((1, 0),)))
    assert lines[0] == "ranking: not decided yet, as far as is known: large > small > odd"
    assert lines[1] == "not told apart yet: large and small"


def test_crossings_come_first_and_many_are_counted():
    crossings = (Crossing(0, 1, better_in=1, worse_in=0),) * 7
    lines = said(Verdict("best-by-group", standing=((0,), (1,)), crossings=crossings))
    assert lines[0].startswith("no order of these experts holds in every group")
    assert lines[1] == "  small is better than large in math, and worse in law"
    assert lines[6] == "  and 2 more pairs cross"
