"""Every baseline on answers whose structure is known: what all promise, then what each is for."""

import numpy as np
import pytest

from evals.fusion.gate import AgreementGate, Gate, best_pairs
from evals.fusion.information import InformedVote, Statements, information, informative_order
from evals.fusion.registry import BASELINES
from evals.fusion.retrying import Retry
from evals.fusion.skills import Skills
from evals.fusion.subsets import ComplementaryVote, TopVote, complementary_order, first_in
from routers.base import Outcome
from routers.encoders import HashedEncoder
from routers.fusing.table import AnswerTable
from routers.fusing.voting import same_answers
from tests.support.recorded import recorded_answers

FOUR = {"even": 0.6, "algebraist": (0.85, 0.3), "poet": (0.3, 0.85), "weak": 0.35}


@pytest.fixture(scope="module")
def train():
    return recorded_answers(FOUR, n=600, silent=0.05)


@pytest.fixture(scope="module")
def test():
    return recorded_answers(FOUR, n=600, seed=1, silent=0.05)


@pytest.fixture(scope="module")
def skills(train):
    return Skills(HashedEncoder(dimensions=128)).fit(train)


def earned(curve, table):
    return [float(fused.rewards(table).mean()) for fused in curve]


@pytest.mark.parametrize("name", BASELINES)
def test_answers_come_from_those_asked_and_start_at_one_call(name, skills, train, test):
    curve = BASELINES[name](skills).fit(train).curve(test)
    for fused in curve:
        assert fused.asked[np.arange(len(test)), fused.chosen].all()
        assert (fused.calls >= 1).all()
    assert min(fused.calls.mean() for fused in curve) == pytest.approx(1.0)


@pytest.mark.parametrize("name", BASELINES)
def test_what_is_chosen_never_depends_on_the_test_rewards(name, skills, train, test):
    baseline = BASELINES[name](skills).fit(train)
    blind = AnswerTable(
        test.queries,
        test.experts,
        test.answers,
        test.tried,
        1 - test.rewards,
        test.costs,
        (None,) * len(test),
        test.texts,
    )
    for seen, unseen in zip(baseline.curve(test), baseline.curve(blind), strict=True):
        assert (seen.chosen == unseen.chosen).all()
        assert (seen.asked == unseen.asked).all()


@pytest.mark.parametrize("name", sorted(set(BASELINES) - {"best single, retried"}))
def test_more_calls_earn_more_where_each_group_has_its_expert(name, skills, train, test):
    rewards = earned(BASELINES[name](skills).fit(train).curve(test), test)
    assert max(rewards) > test.rewards[:, train.rewards.mean(axis=0).argmax()].mean() + 0.05


def test_skills_of_training_queries_come_from_those_that_have_not_seen_them(train, test, skills):
    right = train.rewards == 1
    gaps = [
        np.abs(skills.routed(table.queries)[known].mean() - 1)
        for table, known in ((train, right), (test, test.rewards == 1))
    ]
    assert gaps[0] == pytest.approx(gaps[1], abs=0.05)


def test_skills_keep_the_order_of_queries_seen_and_unseen(train, test, skills):
    mixed = [test.queries[0], train.queries[3], test.queries[1]]
    whole = [skills.routed([query])[0] for query in mixed]
    assert skills.routed(mixed) == pytest.approx(np.array(whole), abs=1e-5)
    assert skills.grouped(mixed).shape == (3, 4)


def test_the_predicted_group_finds_its_expert(test, skills):
    best = skills.grouped(test.queries).argmax(axis=1)
    wanted = np.where(np.array(test.groups) == "algebra", 1, 2)
    assert (best == wanted).mean() > 0.95


def test_a_weighted_vote_outvotes_a_weak_majority():
    table = recorded_answers({"strong": 0.95, "a": 0.3, "b": 0.3}, n=800)
    plain, weighted = (
        TopVote(weighted=weighted).fit(table).curve(table)[-1].rewards(table).mean() for weighted in (False, True)
    )
    assert weighted > plain + 0.02


def test_complementary_selection_passes_by_a_copy_of_the_best():
    table = with_copy(recorded_answers({"best": 0.7, "other": 0.55, "third": 0.55}, n=800))
    order = complementary_order(table, np.array([2.0, 1.2, 1.2, 2.0], dtype=np.float32))
    assert order[:3].tolist() in ([0, 1, 2], [0, 2, 1])
    assert ComplementaryVote().fit(table).curve(table)[2].asked[0].tolist() == [True, True, True, False]


def test_mutual_information_passes_by_a_copy_of_the_best():
    table = with_copy(recorded_answers({"best": 0.7, "other": 0.55, "third": 0.55}, n=800))
    assert informative_order(Statements.of(table))[-1] in (0, 3)


def test_information_is_none_of_a_die_and_all_of_an_oracle():
    statements = Statements.of(recorded_answers({"oracle": 1.0, "die": 1 / 6}, n=3_000))
    share = statements.true.mean()
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    assert information(statements, np.array([0])) == pytest.approx(entropy)
    assert (
        information(Statements(statements.rows, statements.backers[:, [1]], shuffled(statements.true)), np.array([0]))
        < 0.005
    )


def test_one_statement_for_each_different_answer():
    table = recorded_answers({"a": 0.5, "b": 0.5}, n=50)
    assert len(Statements.of(table).rows) == sum(len(set(row)) for row in table.answers.tolist())


def test_the_likeliest_answer_follows_a_pair_that_is_right_only_together():
    """Two experts who agree by chance when wrong tell more than their accuracies say."""
    table = recorded_answers({"a": 0.5, "b": 0.5, "c": 0.52}, n=1_500)
    fused = InformedVote().fit(table).curve(table)[-1]
    agree = same_answers(table)[:, 0, 1]
    assert (same_answers(table)[agree, fused.chosen[agree], 0]).mean() > 0.95


def test_a_gate_asks_its_arbiter_only_where_the_pair_disagrees():
    table = recorded_answers({"a": 0.5, "b": 0.5, "arbiter": 0.9}, n=300)
    same = same_answers(table)
    asked = Gate((0, 1, 2), 2, arbiter=True).asked(same)
    assert (asked[:, 2] == ~same[:, 0, 1]).all()
    assert asked[:, :2].all()


def test_a_gate_goes_on_while_answers_are_unusable():
    table = recorded_answers({"a": 1.0, "b": 1.0, "c": 1.0}, n=200, silent=0.5)
    asked = Gate((0, 1, 2), 2).asked(same_answers(table))
    speaking = table.answers[:, :2] != None  # noqa: E711  of every cell
    assert (asked[:, 2] == ~speaking.all(axis=1)).all()


def test_the_pair_before_an_arbiter_is_the_one_that_earns_most():
    table = recorded_answers({"a": 0.8, "b": 0.3, "c": 0.8, "arbiter": 0.9}, n=600)
    gates = {gate.order[-1]: gate for gate in best_pairs(table)}
    assert gates[3].order == (0, 2, 3)


def test_the_gate_saves_calls_at_little_loss():
    table = recorded_answers({"a": 0.8, "b": 0.8, "c": 0.8}, n=800)
    gate = AgreementGate().fit(table)
    everybody = TopVote().fit(table).curve(table)[-1].rewards(table).mean()
    best = max(
        (fused for fused in gate.curve(table) if fused.calls.mean() < 2.6), key=lambda f: f.rewards(table).mean()
    )
    assert best.rewards(table).mean() > everybody - 0.01


def test_another_is_asked_only_while_the_answer_is_unusable():
    outcomes = [
        Outcome("first", {"a": 0.0, "b": 1.0}, answers={"a": None, "b": "B"}),
        Outcome("second", {"a": 1.0, "b": 0.0}, answers={"a": "A", "b": "B"}),
        Outcome("third", {"a": 1.0, "b": 0.0}, answers={"a": "A", "b": None}),
    ]
    table = AnswerTable.from_outcomes(outcomes)
    once, twice = Retry().fit(table).curve(table)
    assert once.calls.tolist() == [1, 1, 1]
    assert twice.calls.tolist() == [2, 1, 1]
    assert twice.rewards(table).tolist() == [1.0, 1.0, 1.0]


def test_the_first_of_an_order_that_all_share_or_that_each_query_has():
    assert first_in(np.array([2, 0, 1]), 2, (1, 3)).tolist() == [[True, False, True]]
    own = np.array([[0, 1], [1, 0]])
    assert first_in(own, 1, (2, 2)).tolist() == [[True, False], [False, True]]


def with_copy(table):
    """The same with a fourth expert who says what the first says."""
    columns = [0, 1, 2, 0]
    return AnswerTable(
        table.queries,
        (*table.experts, "copy"),
        table.answers[:, columns],
        table.tried[:, columns],
        table.rewards[:, columns],
        table.costs[:, columns],
        table.groups,
        table.texts[:, columns],
    )


def shuffled(values):
    return np.random.default_rng(0).permutation(values)
