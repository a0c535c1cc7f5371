"""Who aggregates, and the file that says how well each does."""

import json

import pytest

from orchestrator.aggregators.choosing import Ability, choose_judge, read_aggregation
from orchestrator.errors import ConfigError
from tests.support.queries import chat_query
from tests.support.service import service_of

PROFILE = {"small": Ability(100, 0.4, 0.3, 0.5), "large": Ability(100, 0.7, 0.6, 0.8)}


@pytest.mark.parametrize(
    ("candidates", "profile", "scores", "chosen"),
    [
        (["small", "large"], PROFILE, {"small": 0.9}, "large"),
        (["small", "other"], PROFILE, {"other": 0.9}, "small"),
        (["a", "b"], PROFILE, {"a": 0.3, "b": 0.6}, "b"),
        (["a", "b"], None, {"b": 0.6}, "b"),
        (["a", "b"], None, {}, "a"),
    ],
    ids=["measured best", "only one is measured", "nobody is measured", "no profile", "nothing is known"],
)
def test_measured_ability_comes_before_scores_and_scores_before_order(candidates, profile, scores, chosen):
    name, why = choose_judge(candidates, profile, scores)
    assert name == chosen
    assert why.startswith(chosen)


def test_nobody_can_be_chosen_of_nobody():
    with pytest.raises(ValueError, match="at least one candidate"):
        choose_judge([], PROFILE, {})


def test_a_file_gives_back_what_was_measured(tmp_path):
    path = tmp_path / "aggregation.json"
    path.write_text(json.dumps({"judges": {"small": {"n": 100, "accuracy": 0.4, "low": 0.3, "high": 0.5}}}))
    assert read_aggregation(path) == {"small": PROFILE["small"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "aggregation.json: can't be read: No such file"),
        ("{", "is no file of `switchyard experts profile --aggregate`: Input data was truncated"),
        ('{"judges": {"small": {"n": 1}}}', r"missing required field `accuracy` - at `\$.judges\[...\]`"),
        ('{"judges": {}, "other": 1}', "unknown field `other`"),
    ],
)
def test_a_file_that_is_something_else_is_refused(tmp_path, content, message):
    path = tmp_path / "aggregation.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_aggregation(path)


@pytest.mark.parametrize(("panel", "judge"), [({}, "b"), ({"router": "default"}, "b"), ({"judge": "a"}, "a")])
async def test_a_panel_has_its_best_aggregator_write(tmp_path, panel, judge):
    abilities = {"judges": {"b": {"n": 100, "accuracy": 0.7, "low": 0.6, "high": 0.8}}}
    (tmp_path / "aggregation.json").write_text(json.dumps(abilities))
    council = {"experts": ["a", "b"], "aggregator": "synthesis", "aggregation": "aggregation.json", **panel}
    experts = ({"name": name, "backend": "echo"} for name in ("a", "b"))
    async with service_of(tmp_path, *experts, panels={"council": council}) as service:
        reply = await service.pipeline.answer(chat_query("Hello", model="panel/council"))
    assert [attempt.expert for attempt in reply.decision.attempts if attempt.purpose == "aggregation"] == [judge]


async def test_the_router_says_who_aggregates_where_nothing_was_measured(tmp_path):
    routers = {"other": {"type": "fixed", "expert": "b"}}
    council = {"experts": ["a", "b"], "aggregator": "synthesis", "router": "other"}
    experts = ({"name": name, "backend": "echo"} for name in ("a", "b"))
    async with service_of(tmp_path, *experts, panels={"council": council}, routers=routers) as service:
        reply = await service.pipeline.answer(chat_query("Hello", model="panel/council"))
    assert [attempt.expert for attempt in reply.decision.attempts if attempt.purpose == "aggregation"] == ["b"]


async def test_a_panel_with_a_file_that_is_not_there_does_not_start(tmp_path):
    council = {"experts": ["a"], "aggregation": "missing.json"}
    with pytest.raises(
        ConfigError, match=r"panels\.council\.aggregation: got 'missing\.json', expected a file that exists"
    ):
        async with service_of(tmp_path, {"name": "a", "backend": "echo"}, panels={"council": council}):
            pass
