"""An expert that declines, as the calculator does, costs nothing; and one that is missing is told of with the others."""

import pytest

from orchestrator.aggregators.selecting.vote import Vote
from orchestrator.errors import AllExpertsFailed, ConfigError, RequestError
from tests.support.panels import make_table
from tests.support.queries import chat_query
from tests.support.service import service_of, text_of

CALCULATOR = {"name": "calculator", "backend": "function", "callable": "orchestrator.experts.calculator:answer"}
ECHO = {"name": "echo", "backend": "echo"}


async def test_a_call_that_was_declined_is_given_back():
    declines = RequestError("not my kind", code="not_applicable")
    table = make_table({"a": declines, "b": "42"}, calls=1, waits={"b": 1.0})
    first = await table.hear(["a"])
    assert not first[0].usable
    assert [answer.text for answer in await table.hear(["b"])] == ["42"]
    assert table.budget.num_calls == 1


async def test_a_call_that_failed_is_not():
    table = make_table({"a": RequestError("no such field"), "b": "42"}, calls=1)
    await table.hear(["a"])
    assert not (await table.hear(["b"]))[0].usable


async def test_a_ladder_with_one_call_climbs_past_who_declines(tmp_path):
    panels = {
        "ladder": {
            "experts": ["calculator", "echo"],
            "aggregator": "cascade",
            "confidence": "usable",
            "budget": {"calls": 1},
        }
    }
    async with service_of(tmp_path, CALCULATOR, ECHO, panels=panels) as service:
        assert await text_of(await service.pipeline.answer(chat_query("Hello", model="panel/ladder"))) == "Hello"


async def test_a_quorum_that_is_missed_is_no_fault_of_the_clients(tmp_path):
    panels = {"strict": {"experts": ["calculator", "echo"], "aggregator": "vote", "quorum": 2}}
    async with service_of(tmp_path, CALCULATOR, ECHO, panels=panels) as service:
        with pytest.raises(AllExpertsFailed, match=r"1 of 2 members answered, and 2 are needed \(calculator: "):
            await service.pipeline.answer(chat_query("Hello", model="panel/strict"))


@pytest.mark.parametrize(
    ("fields", "told"),
    [({"experts": ["echo", "vectors"]}, "experts"), ({"experts": ["echo"], "judge": "vectors"}, "judge")],
)
async def test_whoever_sits_at_it_must_chat(tmp_path, fields, told):
    vectors = {"name": "vectors", "backend": "echo", "kind": "embedding"}
    with pytest.raises(
        ConfigError, match=rf"panels\.one\.{told}.*'vectors' serves embedding requests; expected an expert that chats"
    ):
        async with service_of(tmp_path, ECHO, vectors, panels={"one": {"aggregator": "synthesis", **fields}}):
            pass


async def test_a_vote_is_none_the_worse_for_who_declines():
    declines = RequestError("not my kind", code="not_applicable")
    combined = await Vote().combine(make_table({"a": declines, "b": "42", "c": "42"}, calls=2))
    assert combined.why == "2 of 2 agree"
