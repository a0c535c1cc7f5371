"""One query, a call at a time."""

import numpy as np
import pytest

from routers.fusing.budget import Budget

QUERY = "Solve the equation with coefficient 5 and 7 of 9 9?"


def test_experts_are_asked_one_after_another_until_none_is_left(fusion):
    asking, known = fusion.begin(QUERY), {}
    while (expert := asking.next(known)) is not None:
        assert expert not in known
        known[expert] = "B"
    assert known.keys() == set(fusion.experts_)


@pytest.mark.parametrize(
    "budget", [Budget(mean_calls=2.5, max_calls=4), Budget(mean_cost=3.0), Budget(retry_unusable=True)]
)
def test_a_call_at_a_time_makes_the_same_of_answers_as_a_table_at_once(fusion, unseen, budget):
    part = unseen.rows(np.arange(40))
    fused = fusion.fuse(part, budget)
    for i, query in enumerate(part.queries):
        asking, known, texts = fusion.begin(query, budget), {}, dict(zip(part.experts, part.texts[i], strict=True))
        while (expert := asking.next(known)) is not None:
            known[expert] = texts[expert]
        assert set(known) == {name for name, asked in zip(part.experts, fused.asked[i], strict=True) if asked}
        assert asking.best(known).answer == texts[part.experts[fused.chosen[i]]]


def test_frugal_asking_stops_when_the_first_agree(fusion):
    asking = fusion.begin(QUERY, Budget(mean_calls=2.5))
    agreeing, divided = (dict(zip(fusion.experts_, said, strict=False)) for said in ("BB", "BC"))
    assert asking.next(agreeing) is None
    assert asking.next(divided) is not None


def test_what_it_believes_says_whom_and_how_much(fusion):
    belief = fusion.begin(QUERY).best({"good": "The answer is B.", "algebraist": "(b)", "poet": "C", "poor": None})
    assert belief.answer in ("The answer is B.", "(b)")
    assert belief.weights["good"] == belief.weights["algebraist"] > belief.weights["poet"]
    assert belief.weights.keys() == {"good", "algebraist", "poet"}
    assert 0.5 < belief.probability <= 1.0


def test_agreement_makes_it_surer(fusion):
    asking = fusion.begin(QUERY)
    alone, together = asking.best({"good": "B"}), asking.best({"good": "B", "algebraist": "B"})
    assert alone.probability < together.probability


def test_without_a_usable_answer_there_is_nothing_to_believe(fusion):
    asking = fusion.begin(QUERY)
    for known in ({}, {"good": None}, {"good": "  "}):
        belief = asking.best(known)
        assert (belief.answer, belief.expert, belief.probability) == (None, None, 0.0)


def test_retrying_asks_another_only_while_no_answer_is_usable(fusion):
    asking = fusion.begin(QUERY, Budget(retry_unusable=True))
    first = asking.next({})
    assert asking.next({first: "B"}) is None
    assert asking.next({first: None}) not in (None, first)


def test_only_feasible_experts_are_asked(fusion):
    asking, known = fusion.begin(QUERY, experts=["poor", "poet"]), {}
    while (expert := asking.next(known)) is not None:
        known[expert] = "B"
    assert known.keys() == {"poor", "poet"}


def test_experts_that_it_does_not_know_are_refused(fusion):
    with pytest.raises(ValueError, match="'stranger' is unknown to this fusion, which knows good, algebraist"):
        fusion.begin(QUERY, experts=["good", "stranger"])
    with pytest.raises(ValueError, match="no expert may be asked"):
        fusion.begin(QUERY, experts=[])
