"""The list of aggregators, and what is asked of all of them before they are given a panel."""

import pytest

from orchestrator.aggregators.registry import AGGREGATORS, check_members, make_aggregator
from orchestrator.config import Config
from orchestrator.config.panels import OF_TOKENS, WITHOUT_JUDGE
from orchestrator.errors import ConfigError
from tests.support.panels import make_table

NEEDS_AN_ARTIFACT = {"fusion_of_experts"}
ASKED = sorted(WITHOUT_JUDGE - OF_TOKENS - NEEDS_AN_ARTIFACT)


def panel(*experts, aggregator):
    members = [{"name": name, "backend": "echo"} for name in experts]
    data = {"version": 1, "experts": members, "panels": {"p": {"experts": experts, "aggregator": aggregator}}}
    return Config.model_validate(data).panel_experts["panel/p"]


def test_what_is_said_of_aggregators_by_their_names_is_said_of_ones_that_there_are():
    assert set(AGGREGATORS) >= WITHOUT_JUDGE >= OF_TOKENS


@pytest.mark.parametrize("name", ASKED)
async def test_who_asks_no_judge_asks_none_however_little_members_agree(name):
    table = make_table({"a": "42", "b": "48", "c": "It is 7.", "judge": "A"}, judge="judge")
    await make_aggregator(name).combine(table)
    assert "judge" not in {expert for expert, _ in table.colleagues.asked}


def test_an_aggregator_says_what_it_misses_in_its_panel():
    spec = panel("a", "b", aggregator="contrast")
    aggregator = make_aggregator("contrast", parameters={"weak": "c"})
    with pytest.raises(ConfigError, match="weak: got 'c', expected one of a, b"):
        check_members(aggregator, spec.members, spec.panel)


def test_an_aggregator_that_takes_any_members_says_nothing():
    spec = panel("a", aggregator="vote")
    check_members(make_aggregator("vote"), spec.members, spec.panel)
