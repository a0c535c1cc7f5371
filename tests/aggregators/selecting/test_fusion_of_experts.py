"""A panel whose members are asked, and believed, as was learned from recorded answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.aggregators.registry import make_aggregator
from orchestrator.config import EchoSpec, PanelSpec
from orchestrator.errors import ConfigError, ExpertError, NoQuorum
from routers.encoders import HashedEncoder
from routers.fusing.artifact import write_fusion
from routers.fusing.evaluation import Reference, evaluate
from routers.fusing.fusion import Fusion
from tests.support.panels import make_table
from tests.support.recorded import recorded_answers

QUESTION = "Solve the equation with coefficient 5 and 7 of 9 9?"
COSTS = {"good": 0.003, "algebraist": 0.001, "poet": 0.001, "poor": 0.001}
SKILLS = {"good": 0.8, "algebraist": [0.9, 0.3], "poet": [0.3, 0.9], "poor": 0.4}


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return written(tmp_path_factory.mktemp("artifacts") / "fusion", recorded_answers(SKILLS, silent=0.1, costs=COSTS))


def written(folder, table):
    learned, reference = Fusion(encoder=HashedEncoder(64)).fit(table), Reference.of(table)
    write_fusion(folder, learned, reference, {"all calls": evaluate(learned.fuse(table), table, reference)})
    return folder


def fusion(folder, **parameters):
    given = {"artifact": str(folder), **parameters}
    return make_aggregator("fusion_of_experts", parameters=given, encoders=[HashedEncoder(64)])


async def test_without_a_budget_everybody_is_asked_and_the_likeliest_answer_believed(artifact):
    table = make_table({"poor": "C", "poet": "C", "algebraist": "B", "good": "The answer is B."}, question=QUESTION)
    combined = await fusion(artifact).combine(table)
    assert combined.text in ("B", "The answer is B.")
    assert set(combined.who) == {"algebraist", "good"}
    assert len(table.colleagues.asked) == 4
    assert combined.details["weights"]["good"] > combined.details["weights"]["poet"]


async def test_frugal_it_stops_when_the_first_agree(artifact):
    scripts = dict.fromkeys(SKILLS, "B")
    table = make_table(scripts, question=QUESTION)
    await fusion(artifact, mean_calls=2.2).combine(table)
    assert 1 <= len(table.colleagues.asked) < 4


async def test_a_mean_cost_asks_fewer(artifact):
    table = make_table(dict.fromkeys(SKILLS, "B"), question=QUESTION)
    assert (await fusion(artifact, mean_cost=0.002).combine(table)).text == "B"
    assert 1 <= len(table.colleagues.asked) < 4


def test_a_mean_cost_is_in_dollars(tmp_path):
    folder = written(tmp_path / "letters", replace(recorded_answers(SKILLS, costs=COSTS), cost_unit="characters"))
    with pytest.raises(
        ConfigError, match=r"mean_cost: is in US dollars, and .*letters has learned of costs in 'characters'"
    ):
        fusion(folder, mean_cost=0.002)


async def test_it_never_makes_more_calls_than_it_may(artifact):
    table = make_table({"poor": "A", "poet": "B", "algebraist": "C", "good": "D"}, question=QUESTION)
    await fusion(artifact, max_calls=2).combine(table)
    assert len(table.colleagues.asked) == 2


@pytest.mark.parametrize("limit", [{"calls": 2}, {"usd": 0.01, "usd_per_call": 0.004}])
async def test_with_little_to_spend_those_are_asked_who_know_most(artifact, limit):
    scripts = {"poor": "C", "poet": "C", "algebraist": "B", "good": "B"}
    table = make_table(scripts, question=QUESTION, waits={"algebraist": 9.0, "good": 9.0}, **limit)
    combined = await fusion(artifact).combine(table)
    assert {expert for expert, _ in table.colleagues.asked} == {"algebraist", "good"}
    assert combined.why.endswith("after 2 of 4 calls")


async def test_another_is_asked_only_while_no_answer_is_usable(artifact):
    refusal = "I'm sorry, but I can't help with that."
    table = make_table({"poor": "C", "poet": "C", "algebraist": refusal, "good": refusal}, question=QUESTION)
    combined = await fusion(artifact, retry_unusable=True).combine(table)
    assert combined.text == "C"
    assert len(table.colleagues.asked) <= 3


async def test_members_that_it_knows_nothing_of_are_not_asked(artifact):
    table = make_table({"good": "B", "stranger": "C"}, question=QUESTION)
    combined = await fusion(artifact).combine(table)
    assert combined.who == ("good",)
    assert [expert for expert, _ in table.colleagues.asked] == ["good"]


async def test_strangers_among_themselves_vote(artifact):
    table = make_table({"x": "B", "y": "C", "z": "C"}, question=QUESTION)
    combined = await fusion(artifact).combine(table)
    assert combined.text == "C"
    assert "knows none of them; 2 of 3 agree" in combined.why


async def test_unusable_answers_are_better_than_none_and_failures_are_none(artifact):
    refusal = "I'm sorry, but I can't help with that."
    assert (await fusion(artifact).combine(make_table({"good": refusal}, question=QUESTION))).text == refusal
    with pytest.raises(NoQuorum, match="broke off"):
        await fusion(artifact).combine(make_table({"good": ExpertError("good", "reset", "broke off")}))


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"artifact": "nowhere"}, "nowhere"),
        ({"mean_calls": 0.5}, "mean_calls: expected 1 or more, got 0.5"),
        ({"mean_cost": 0.0001}, "mean_cost: one call a query takes"),
        ({"mean_cost": 0.002, "mean_calls": 2}, "mean_calls and mean_cost are two ways"),
        ({"mean_calls": 2, "retry_unusable": True}, "retry_unusable asks until an answer is usable"),
    ],
)
def test_what_it_can_not_be_is_an_error(artifact, parameters, told):
    with pytest.raises(ConfigError, match=told):
        fusion(artifact, **parameters)


async def test_a_quorum_holds_for_those_that_are_asked(artifact):
    scripts = {"poor": "A", "poet": None, "algebraist": None, "good": None}
    table = make_table(scripts, question=QUESTION, quorum=3, timeout_s=0.05)
    with pytest.raises(NoQuorum, match="1 of 4 members answered, and 3 are needed"):
        await fusion(artifact).combine(table)


@pytest.mark.parametrize(
    ("parameters", "names", "told"),
    [
        (
            {"mean_calls": 2},
            tuple(SKILLS),
            "expected at most 1, as a mean or a limit of calls may leave it at one, got 2",
        ),
        ({}, ("good", "stranger"), "expected at most 1, as the artifact knows no more of its members, got 2"),
    ],
)
def test_a_quorum_that_can_not_be_met_is_refused_at_load(artifact, parameters, names, told):
    members = [EchoSpec(name=name, backend="echo") for name in names]
    panel = PanelSpec(experts=names, aggregator="fusion_of_experts", quorum=2)
    with pytest.raises(ValueError, match=told):
        fusion(artifact, **parameters).check(members, panel)
