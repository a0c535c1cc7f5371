"""Skills learned from outcomes: strengths by skill, blended with what the cards say as long as outcomes are few."""

import json

import numpy as np
import pytest

from routers.artifact import load_artifact, save_artifact
from routers.base import ExpertCard, Outcome
from routers.data.table import RewardTable
from routers.encoders import HashedEncoder
from routers.families.skillprofiles import Vocabulary, fit_profile
from routers.families.skills import SkillsRouter
from routers.registry import make_router
from tests.support.outcomes import CHATS, SUMS, specialists

SUM, CHAT = "What is 12 * 7?", "Tell me a story about my aunt and rain"
CARDS = (
    ExpertCard("calculator", description="exact sums", skills=("arithmetic",)),
    ExpertCard("poet", description="stories and poems", skills=("storytelling",)),
)


def router_of(*cards, **parameters):
    return SkillsRouter(experts=cards, encoder=HashedEncoder(512), **parameters)


def lies(share=1.0):
    """Outcomes that contradict the cards."""
    for outcome in specialists()[: int(len(specialists()) * share)]:
        yield Outcome(outcome.query, {"calculator": outcome.rewards["poet"], "poet": outcome.rewards["calculator"]})


def test_without_cards_it_learns_who_is_good_at_what():
    router = router_of().fit(specialists())
    scores = router.predict([SUM, CHAT])
    assert router.experts_ == ("calculator", "poet")
    np.testing.assert_allclose(scores, [[0.9, 0.2], [0.2, 0.9]], atol=0.12)


@pytest.mark.parametrize("group", [True, False])
def test_skills_are_the_groups_or_mined(group):
    outcomes = [Outcome(o.query, o.rewards, group=o.group if group else None) for o in specialists()]
    router = router_of(keywords=1).fit(outcomes)
    first, second = router.skills([SUM, CHAT])
    assert first != second
    if group:
        assert (first, second) == (("sums",), ("chats",))


def test_before_there_are_outcomes_no_skill_is_known():
    assert router_of(*CARDS).fit().skills([SUM]) == [()]


def test_declared_skills_are_a_vocabulary():
    router = router_of(*CARDS, vocabulary="declared").fit(specialists())
    assert set(router.skills([SUM])[0]) <= {"arithmetic", "storytelling"}
    assert router.predict([CHAT])[0].argmax() == 1


def test_a_declared_vocabulary_needs_declarations():
    with pytest.raises(ValueError, match="experts that declare some"):
        router_of(ExpertCard("calculator"), vocabulary="declared").fit(specialists())


def test_few_outcomes_leave_the_cards_their_say_and_many_overrule_them():
    untrained = router_of(*CARDS).fit().predict([SUM])[0]
    few = router_of(*CARDS).fit(list(lies())[:2]).predict([SUM])[0]
    many = router_of(*CARDS).fit(list(lies())).predict([SUM])[0]
    np.testing.assert_allclose(few, untrained, atol=0.05)
    assert untrained[0] > untrained[1]
    assert many[0] < many[1] - 0.15


def test_no_outcomes_change_nothing():
    with_seed = router_of(*CARDS, seed=5, keywords=2).fit([])
    np.testing.assert_array_equal(with_seed.predict([SUM, CHAT]), router_of(*CARDS).fit().predict([SUM, CHAT]))


def test_an_expert_nobody_tried_is_not_better_than_those_that_were_for_saying_so():
    braggart = ExpertCard("braggart", description="exact sums", skills=("arithmetic",), examples=tuple(SUMS[:3]))
    outcomes = [Outcome(o.query, {"calculator": 0.3, "poet": 0.1}) for o in specialists()]
    scores = router_of(*CARDS, braggart).fit(outcomes).predict([SUM])[0]
    assert scores[2] < 0.5


def test_a_tagger_says_which_skills_are_needed():
    asked = []

    def tagger(queries):
        asked.extend(queries)
        return [("addition", "arithmetic") if any(c.isdigit() for c in query) else ("fiction",) for query in queries]

    router = router_of(tagger=tagger, keywords=2).fit(specialists())
    assert set(router.vocabulary_.names) == {"addition", "arithmetic", "fiction"}
    assert set(router.skills(["9 plus 9"])[0]) == {"addition", "arithmetic"}
    np.testing.assert_allclose(router.predict(["9 plus 9", "a rhyme"]), [[0.9, 0.2], [0.2, 0.9]], atol=0.15)
    assert asked == [*SUMS, *CHATS, "9 plus 9", "9 plus 9", "a rhyme"]


def test_a_tagger_that_knows_nothing_leaves_it_to_the_vectors():
    words = iter([[("sums",)] * len(SUMS) + [("chats",)] * len(CHATS), [()]])
    router = router_of(tagger=lambda queries: next(words)).fit(specialists())
    assert np.isfinite(router.predict([SUM])).all()
    with pytest.raises(ValueError, match="named no skill"):
        router_of(tagger=lambda queries: [()] * len(queries)).fit(specialists())


def test_a_tagger_is_handed_in_and_no_parameter(tmp_path):
    router = router_of(tagger=lambda queries: [("words",)] * len(queries)).fit(specialists())
    save_artifact(tmp_path / "a", router, card="")
    assert "tagger" not in json.loads((tmp_path / "a" / "config.json").read_text())["router"]["parameters"]
    assert load_artifact(tmp_path / "a", encoders=[HashedEncoder(512)]).router.predict([SUM]).shape == (1, 2)
    with pytest.raises(ValueError, match="unknown parameter 'tagger'"):
        make_router("skills", experts=CARDS, encoder=HashedEncoder(8), parameters={"tagger": "smollm2"})


def test_an_expert_is_added_by_its_card_and_its_outcomes():
    router = router_of(*CARDS).fit(specialists())
    before = router.predict([SUM, CHAT])
    examples = [Outcome(q, {"abacus": 1.0}) for q in SUMS[:60]] + [Outcome(q, {"abacus": 0.0}) for q in CHATS[:60]]
    router.add_expert(ExpertCard("abacus", description="bamboo beads"), examples)
    after = router.predict([SUM, CHAT])
    assert router.experts_ == ("calculator", "poet", "abacus")
    assert after[0, 2] > after[1, 2] + 0.4
    np.testing.assert_allclose(after[:, :2], before, atol=0.05)


def test_an_untrained_router_takes_one_more_card():
    router = router_of(CARDS[0]).fit()
    router.add_expert(CARDS[1], [Outcome(SUM, {"poet": 1.0})])
    np.testing.assert_array_equal(router.predict([SUM, CHAT]), router_of(*CARDS).fit().predict([SUM, CHAT]))
    with pytest.raises(ValueError, match="knows the expert 'poet' already"):
        router.add_expert(CARDS[1])


def test_nobody_at_all_is_an_error():
    with pytest.raises(ValueError, match="needs experts, or outcomes"):
        router_of().fit()


def test_shares_go_to_the_nearest_skills():
    vocabulary = Vocabulary(("east", "north", "west"), np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float32))
    shares = vocabulary.shares(np.array([[0.8, 0.6]], dtype=np.float32), keywords=2, sharpness=10.0)
    np.testing.assert_allclose(shares, [[1 / (1 + np.exp(-2.0)), 1 / (1 + np.exp(2.0)), 0.0]], rtol=1e-5)


def test_a_profile_is_a_mean_drawn_towards_the_overall_one():
    table = RewardTable.of([Outcome("a", {"x": 1.0}), Outcome("b", {"x": 0.0})])
    profile = fit_profile(table, np.eye(2, dtype=np.float32), pseudo_rows=1.0)
    np.testing.assert_allclose(profile.strengths, [[0.75], [0.25]])
    np.testing.assert_allclose(profile.counts, [2.0])
