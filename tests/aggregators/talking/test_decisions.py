"""How a group decides."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.aggregators.talking.decisions import Ballot, DecisionProtocol, decide

every_protocol = pytest.mark.parametrize("protocol", get_args(DecisionProtocol))
protocols = st.sampled_from(get_args(DecisionProtocol))
candidates = st.integers(2, 4).map(lambda count: "wxyz"[:count])
tenths = st.integers(0, 10).map(lambda number: number / 10)
elections = candidates.flatmap(
    lambda names: st.lists(st.fixed_dictionaries(dict.fromkeys(names, tenths)), min_size=1, max_size=6)
)

THREE = [{"4": 0.9, "5": 0.1}, {"4": 0.6, "5": 0.4}, {"4": 0.2, "5": 0.8}]
FOUR = [*THREE, {"4": 0.45, "5": 0.55}]
COMPROMISE = [{"x": 0.6, "y": 0.4, "z": 0.0}, {"x": 0.0, "y": 0.45, "z": 0.55}, {"x": 0.6, "y": 0.4, "z": 0.0}]


@pytest.mark.parametrize(
    ("protocol", "ballots", "winner"),
    [
        ("majority", THREE, "4"),
        ("majority", FOUR, None),
        ("majority", [{"4": 0.5, "5": 0.5}, {"4": 1.0}], None),
        ("majority", [{"4": 1.0}, {}], None),
        ("cumulative", [{"4": 1.0}, {}], "4"),
        ("supermajority", THREE, "4"),
        ("supermajority", [*FOUR, {"4": 1.0}], None),
        ("unanimity", THREE, None),
        ("unanimity", THREE[:2], "4"),
        ("ranked", FOUR, None),
        ("ranked", COMPROMISE, "x"),
        ("approval", COMPROMISE, "y"),
        ("approval", FOUR, None),
        ("cumulative", FOUR, "4"),
        ("cumulative", COMPROMISE, "y"),
    ],
)
def test_what_a_protocol_makes_of_ballots(protocol: DecisionProtocol, ballots: list[Ballot], winner: str | None):
    assert decide(protocol, ballots) == winner


@every_protocol
@pytest.mark.parametrize("ballots", [[], [{}], [{}, {}]])
def test_without_a_vote_there_is_no_decision(protocol: DecisionProtocol, ballots: list[Ballot]):
    assert decide(protocol, ballots) is None


@given(protocols, elections, st.randoms(use_true_random=False))
def test_voters_count_alike(protocol: DecisionProtocol, ballots: list[Ballot], dice):
    assert decide(protocol, dice.sample(ballots, len(ballots))) == decide(protocol, ballots)


@given(protocols, elections)
def test_candidates_count_alike(protocol: DecisionProtocol, ballots: list[Ballot]):
    renamed = dict(zip("wxyz", "zyxw", strict=True))
    winner = decide(protocol, ballots)
    after = decide(protocol, [{renamed[name]: share for name, share in ballot.items()} for ballot in ballots])
    assert after == (None if winner is None else renamed[winner])


@given(protocols, elections, st.data())
def test_who_wins_and_gains_on_a_ballot_wins(
    protocol: DecisionProtocol, ballots: list[dict[str, float]], data: st.DataObject
):
    winner = decide(protocol, ballots)
    if winner is None:
        return
    place = data.draw(st.integers(0, len(ballots) - 1))
    gained = {**ballots[place], winner: ballots[place][winner] + data.draw(tenths)}
    assert decide(protocol, [*ballots[:place], gained, *ballots[place + 1 :]]) == winner


@given(protocols, elections)
def test_whom_all_are_for_alone_wins(protocol: DecisionProtocol, ballots: list[Ballot]):
    assert decide(protocol, [{**dict.fromkeys(ballot, 0.0), "w": 1.0} for ballot in ballots]) == "w"


@given(elections)
def test_a_stricter_protocol_decides_the_same_or_not_at_all(ballots: list[Ballot]):
    unanimous, supermajority, majority = (decide(p, ballots) for p in ("unanimity", "supermajority", "majority"))
    assert unanimous in (None, supermajority)
    assert supermajority in (None, majority)
