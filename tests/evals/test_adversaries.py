"""Attacks do what they say and no more, and a router that learns online leaves an expert that breaks."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.adversaries import COPIES, GAMER, SCENARIOS, attacked, held_up
from evals.protocols import Protocol
from evals.sweeps.datasets import DataSet
from evals.sweeps.measuring import prepare
from evals.sweeps.nouns import Row, Setting
from evals.sweeps.rows import setting_rows
from routers.base import Outcome
from routers.data.outcomes import write_outcomes
from routers.data.splits import fold_numbers
from routers.data.table import RewardTable
from routers.encoders import HashedEncoder
from routers.families.bandit import BanditRouter
from routers.training.evaluation import choose, earned
from tests.support.outcomes import specialists


def outcomes(n=200, seed=0, costs=True):
    """Four experts, the third is the best and the first the weakest."""
    dice = np.random.default_rng(seed)
    means = {"weak": 0.2, "fair": 0.5, "best": 0.8, "good": 0.6}
    return [
        Outcome(
            f"Please tell me {'very ' * (i % 7)}much about case number {seed} {i}",
            {name: float(dice.random() < mean) for name, mean in means.items()},
            group=("sums", "chats")[i % 2],
            costs=dict.fromkeys(means, 0.001) if costs else {},
        )
        for i in range(n)
    ]


def table(*args, **kwargs):
    return RewardTable.of(outcomes(*args, **kwargs))


PROTOCOL = Protocol("mine", ((table(), table(100, 1)), (table(150, 2), table(50, 3))))


def hit(name, seed=0):
    return attacked(PROTOCOL, name, seed).splits


def same(first, second):
    return (
        (first.queries, first.experts, first.groups) == (second.queries, second.experts, second.groups)
        and np.array_equal(first.rewards, second.rewards, equal_nan=True)
        and np.array_equal(first.costs, second.costs, equal_nan=True)
    )


@pytest.mark.parametrize("name", SCENARIOS)
def test_an_attacked_protocol_can_be_measured_like_any_other(name):
    found = attacked(PROTOCOL, name)
    assert (found.name, found.metric) == (PROTOCOL.name, PROTOCOL.metric)
    for (train, test), (_, plain) in zip(found.splits, PROTOCOL.splits, strict=True):
        assert train.experts == test.experts
        assert (len(test), test.groups) == (len(plain), plain.groups)
        assert train.rewards.shape == train.costs.shape == train.weights.shape == (len(train), len(train.experts))
        assert (train.rewards.dtype, test.rewards.dtype) == (np.float32, np.float32)
        assert all(0 <= rewards[~np.isnan(rewards)].min() <= 1 for rewards in (train.rewards, test.rewards))
        assert train.tried.any(axis=1).all()


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_seed_gives_the_same_attack(name):
    pairs = zip(hit(name, 5), hit(name, 5), strict=True)
    assert all(same(one, other) for first, second in pairs for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("name", ["duplicated", "reworded", "rare_feedback", "label_noise"])
def test_another_seed_gives_another_attack(name):
    some = [hit(name, seed)[0] for seed in range(4)]
    assert any(not same(some[0][part], other[part]) for other in some[1:] for part in (0, 1))


@pytest.mark.parametrize("name", ["gamed_judge", "gamed_judge_in_part", "duplicated", "rare_feedback", "label_noise"])
def test_test_rewards_stay_as_they_were_when_training_is_attacked(name):
    for (_, test), (_, plain) in zip(hit(name), PROTOCOL.splits, strict=True):
        assert same(test.only(plain.experts), plain)


@pytest.mark.parametrize("name", ["broken_expert", "changed_expert", "reworded"])
def test_training_stays_as_it_was_when_serving_is_attacked(name):
    assert all(same(train, plain) for (train, _), (plain, _) in zip(hit(name), PROTOCOL.splits, strict=True))


def test_a_constant_answer_tops_training_and_earns_nothing():
    for train, test in hit("gamed_judge"):
        assert train.experts[-1] == GAMER
        assert (train.rewards[:, -1].min(), test.rewards[:, -1].max()) == (1.0, 0.0)
        assert (train.costs[:, -1] == 0.0).all()


def test_a_judge_gamed_in_part_is_gamed_on_the_longest_queries():
    train, _ = hit("gamed_judge_in_part")[0]
    lengths, gamed = np.array([len(query) for query in train.queries]), train.rewards[:, -1] == 1.0
    assert gamed.sum() == 60
    assert lengths[gamed].min() >= lengths[~gamed].max()


def test_an_attacker_has_no_costs_where_nobody_has():
    plain = table(costs=False)
    train, _ = attacked(Protocol("mine", ((plain, plain),)), "gamed_judge").splits[0]
    assert np.isnan(train.costs).all()


def test_the_best_expert_breaks_and_the_others_do_not():
    _, test = hit("broken_expert")[0]
    plain = PROTOCOL.splits[0][1]
    assert test.rewards[:, 2].max() == 0.0
    others = ["weak", "fair", "good"]
    assert same(test.only(others), plain.only(others))


def test_the_best_expert_turns_into_the_weakest():
    _, test = hit("changed_expert")[0]
    np.testing.assert_array_equal(test.rewards[:, 2], test.rewards[:, 0])


def test_a_cell_that_was_not_tried_stays_so():
    plain = table(60)
    plain.rewards[:20, 2] = np.nan
    plain.rewards[40:, 0] = np.nan
    protocol = Protocol("mine", ((table(), plain),))
    for name in ("broken_expert", "changed_expert"):
        rewards = attacked(protocol, name).splits[0][1].rewards[:, 2]
        np.testing.assert_array_equal(np.isnan(rewards), np.arange(60) < 20)


def test_one_group_is_there_twenty_times_or_nearly_so():
    train, _ = hit("duplicated")[0]
    plain = PROTOCOL.splits[0][0]
    assert same(train.rows(np.arange(len(plain))), plain)
    (group,) = set(train.groups[len(plain) :])
    assert train.groups.count(group) == COPIES * plain.groups.count(group)
    assert len(set(train.queries)) > 5 * len(plain)
    np.testing.assert_array_equal(
        train.rewards[len(plain) : len(plain) + 100], plain.rewards[[g == group for g in plain.groups]]
    )


def test_without_groups_some_queries_are_duplicated():
    plain = replace(table(), groups=(None,) * 200)
    train, _ = attacked(Protocol("mine", ((plain, plain),)), "duplicated").splits[0]
    assert len(plain) < len(train) < len(plain) * COPIES / 2


def test_test_queries_are_reworded_and_keep_their_rewards():
    _, test = hit("reworded")[0]
    plain = PROTOCOL.splits[0][1]
    changed = np.mean([new != old for new, old in zip(test.queries, plain.queries, strict=True)])
    assert changed > 0.7  # a text of one sentence has none to reorder
    np.testing.assert_array_equal(test.rewards, plain.rewards)


@given(st.integers(0, 50))
def test_a_tenth_of_the_feedback_is_left_and_it_is_too_kind(seed):
    plain = PROTOCOL.splits[0][0]
    train, _ = hit("rare_feedback", seed)[0]
    assert 0.05 < train.tried.sum() / plain.tried.sum() < 0.15
    assert train.mean > plain.mean + 0.1
    assert np.isnan(train.costs[~train.tried]).all()


@given(st.integers(0, 50))
def test_a_fifth_of_the_labels_is_turned_round(seed):
    plain = PROTOCOL.splits[0][0]
    train, _ = hit("label_noise", seed)[0]
    assert 0.15 < (train.rewards != plain.rewards).mean() < 0.25


def test_a_sweep_measures_attacked_data_and_says_how_routers_held_up(tmp_path):
    """Where the judge is gamed, the best single expert is free, and no cost is a share of its cost."""
    write_outcomes(tmp_path / "mine.jsonl", outcomes())
    rows = []
    for scenario in ("", "gamed_judge"):
        data = DataSet("mine", (tmp_path / "mine.jsonl",), folds=2, scenario=scenario or None)
        prepared = prepare(Setting("mine", scenario=scenario), data, reader=HashedEncoder(64))
        rows += setting_rows(prepared.tested, [prepared.run("linear")], (0.0, 1.0))
    found = {held.router: held for held in held_up(rows)}
    assert found["linear"].is_paired
    assert found["best_single"].attacked == pytest.approx(found["best_single"].change.mean)
    assert found["best_single"].attacked < -0.6
    assert found["oracle"].change.mean == 0.0


def test_an_unknown_scenario_names_those_there_are():
    with pytest.raises(ValueError, match=r"unknown scenario 'flood', expected one of gamed_judge, .*label_noise"):
        attacked(PROTOCOL, "flood")


def row(name, router, earned, seed=0, queries="same"):
    """name: of data, and after a plus of an attack on it."""
    nothing = dict.fromkeys(Row.__dataclass_fields__)
    data, _, scenario = name.partition("+")
    given = {
        "data": data,
        "scenario": scenario,
        "router": router,
        "fleet": "all",
        "seed": seed,
        "queries": queries,
        "lambda_": 0.0,
    }
    return Row(**nothing | given | {"n": len(earned), "share": {}, "earned": tuple(earned)})


def test_what_is_left_of_a_gain_is_over_the_best_single_expert_of_before():
    plain = [row("mine", "best_single", [0.5] * 30), row("mine", "linear", [0.8] * 30)]
    hits = [row("mine+broken_expert", "best_single", [0.0] * 30), row("mine+broken_expert", "linear", [0.6] * 30)]
    single, linear = held_up(plain + hits)
    assert (linear.data, linear.scenario, linear.router) == ("mine", "broken_expert", "linear")
    assert (linear.plain, linear.attacked, linear.change.mean) == pytest.approx((0.3, 0.1, -0.2))
    assert (linear.change.low, linear.change.high) == pytest.approx((-0.2, -0.2))
    assert single.change.mean == pytest.approx(-0.5)


def test_a_change_is_paired_where_the_queries_are_the_same():
    dice = np.random.default_rng(0)
    before = dice.random(200)
    after = before - 0.1
    plain = [row("mine", "best_single", before), row("mine", "linear", before)]
    (paired,) = held_up([*plain, row("mine+label_noise", "linear", after)])
    (unpaired,) = held_up([*plain, row("mine+label_noise", "linear", after, queries="others")])
    assert (paired.is_paired, unpaired.is_paired) == (True, False)
    assert paired.change.mean == pytest.approx(unpaired.change.mean) == pytest.approx(-0.1)
    assert paired.change.high - paired.change.low < 1e-6
    assert 0.09 < unpaired.change.high - unpaired.change.low < 0.14  # 2 * 1.96 * sqrt(2 / 12 / 200) = 0.113


def test_seeds_are_averaged_and_rows_without_their_like_left_out():
    plain = [row("mine", "best_single", [0.5] * 30, seed) for seed in (0, 1)]
    plain += [row("mine", "linear", [0.5 + seed / 10] * 30, seed) for seed in (0, 1)]
    hits = [row("mine+label_noise", "linear", [0.4] * 30, seed) for seed in (0, 1, 2)]
    hits += [row("mine+label_noise", "tree", [0.4] * 30), row("yours+label_noise", "linear", [0.4] * 30)]
    (found,) = held_up(plain + hits)
    assert (found.plain, found.attacked, found.change.mean) == pytest.approx((0.05, -0.1, -0.15))


def answered(router, vectors, table):
    """`(n_queries,)`: the expert of each query, asked one by one, each of them scored before the next one comes."""
    choice = np.zeros(len(table), dtype=np.intp)
    for i, vector in enumerate(vectors[:, None]):
        choice[i] = choose(router.predict_encoded(vector))[0]
        router.update_encoded(vector, [table.experts[choice[i]]], [float(table.rewards[i, choice[i]])])
    return choice


@pytest.mark.parametrize("name", ["broken_expert", "changed_expert"])
def test_a_router_that_learns_online_leaves_an_expert_that_went_bad(name):
    """`poet` is the best single expert; a prior that counts for 20 rewards is soon outweighed."""
    known = RewardTable.of(replace(outcome, rewards=outcome.rewards | {"spare": 0.5}) for outcome in specialists())
    folds = fold_numbers(known, 2)
    ((train, stream),) = attacked(Protocol("mine", ((known.rows(folds == 0), known.rows(folds == 1)),)), name).splits
    stream = stream.rows(np.random.default_rng(0).permutation(len(stream)))
    encoder = HashedEncoder(256)
    router = BanditRouter(encoder=encoder, prior_rows=20, exploration="bonus")
    router.fit_encoded(train, encoder.encode(train.queries))
    vectors, chats = encoder.encode(stream.queries), np.array(stream.groups) == "chats"
    offline = choose(router.predict_encoded(vectors))
    online = answered(router, vectors, stream)
    poet, late = stream.experts.index("poet"), np.arange(len(stream)) > len(stream) / 2
    assert (offline[chats & late] == poet).mean() > 0.9
    assert (online[chats & late] == poet).mean() < 0.1
    assert earned(stream, online).mean() > earned(stream, offline).mean() + 0.1
