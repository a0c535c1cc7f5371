"""What binds a panel: time, scope, budgets of the request, and what it is told of by its members."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import pytest
from msgspec.structs import replace

from orchestrator.errors import ExpertError, RequestError
from orchestrator.types import RequestOptions
from tests.support.panels import make_table
from tests.support.queries import caller, chat_query
from tests.support.service import openai_expert, service_of, text_of
from tests.support.upstream import replies, running_upstream

ECHO = {"name": "echo", "backend": "echo"}
OTHER = {"name": "other", "backend": "echo"}
JUDGE = {"name": "judge", "backend": "echo"}


@pytest.fixture
async def upstream():
    async with running_upstream() as upstream:
        yield upstream


def member_calls(decision) -> int:
    return sum(attempt.purpose != "panel" for attempt in decision.attempts)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("limit", [{"timeout_s": 0.5}, {"budget": {"seconds": 0.5}}])
async def test_a_writer_that_takes_too_long_is_not_waited_for(tmp_path, stream, limit):
    slow = {"name": "slow", "backend": "echo", "latency_s": 30}
    panels = {"council": {"experts": ["echo", "other"], "aggregator": "synthesis", "judge": "slow", **limit}}
    async with service_of(tmp_path, ECHO, OTHER, slow, panels=panels) as service:
        began = time.monotonic()
        reply = await service.pipeline.answer(chat_query("Hello", model="panel/council", stream=stream))
        assert await text_of(reply) == "Hello"
        assert time.monotonic() - began < 10
        assert "slow could not write it: no answer in the time that was left" in reply.decision.reason
        assert all(status.leases == 0 for status in service.scheduler.status())


@pytest.mark.parametrize("aggregator", ["best_of", "synthesis", "cascade", "conductor", "multi_expert"])
@pytest.mark.parametrize(
    "limit", [{"caller": caller("echo", "other")}, {"options": RequestOptions(experts=("echo", "other"))}]
)
async def test_a_judge_that_is_not_the_callers_to_ask_is_not_asked(tmp_path, aggregator, limit):
    settings = {"confidence": "judge"} if aggregator == "cascade" else {}
    panels = {"one": {"experts": ["echo", "other"], "aggregator": aggregator, "judge": "judge", **settings}}
    async with service_of(tmp_path, ECHO, OTHER, JUDGE, panels=panels) as service:
        reply = await service.pipeline.answer(chat_query("Hello", model="panel/one", **limit))
        assert await text_of(reply)
        assert "judge" not in {attempt.expert for attempt in reply.decision.attempts}


async def test_panels_that_are_tried_one_after_another_share_the_requests_budget(tmp_path, upstream):
    broken = [openai_expert(name, upstream.base_url, "html") for name in "abcd"]
    panels = {"x": {"experts": ["a", "b"], "aggregator": "vote"}, "y": {"experts": ["c", "d"], "aggregator": "vote"}}
    policies = {"auto": {"experts": ["panel/x", "panel/y", "echo"], "router": "order"}}
    routers = {"order": {"type": "fixed", "expert": "panel/x"}}
    async with service_of(tmp_path, *broken, ECHO, panels=panels, policies=policies, routers=routers) as service:
        query = chat_query("Hello", options=RequestOptions(max_calls=2))
        decision = (await service.pipeline.answer(query)).decision
        assert decision.expert == "echo"
        asked = [attempt.expert for attempt in decision.attempts if attempt.expert in "abcd"]
        assert len(asked) == 2


async def test_a_request_that_names_a_panel_allows_its_members_and_one_that_does_not_leaves_it_out(tmp_path):
    panels = {"both": {"experts": ["echo", "other"], "aggregator": "vote"}}
    routers = {"same": {"type": "fixed", "expert": "panel/both"}}
    policies = {"auto": {"experts": ["echo", "panel/both"], "router": "same"}}
    async with service_of(tmp_path, ECHO, OTHER, panels=panels, policies=policies, routers=routers) as service:
        named = chat_query("Hello", options=RequestOptions(experts=("panel/both",)))
        decision = (await service.pipeline.answer(named)).decision
        assert (decision.expert, member_calls(decision)) == ("panel/both", 2)
        without = chat_query("Hello", options=RequestOptions(experts=("echo",)))
        assert (await service.pipeline.answer(without)).decision.expert == "echo"
        with pytest.raises(RequestError) as caught:
            scoped = chat_query("Hello", options=RequestOptions(experts=("panel/both",)), caller=caller("nobody"))
            await service.pipeline.answer(scoped)
        assert caught.value.code != "context_length_exceeded"


async def test_an_answer_that_is_never_read_gives_the_writers_lease_back(tmp_path, upstream):
    writer = openai_expert("writer", upstream.base_url)
    panels = {"council": {"experts": ["echo", "other"], "aggregator": "synthesis", "judge": "writer"}}
    async with service_of(tmp_path, ECHO, OTHER, writer, panels=panels) as service:
        reply = await service.pipeline.answer(chat_query("Hello", model="panel/council", stream=True))
        await reply.aclose()
        assert all(status.leases == 0 for status in service.scheduler.status())
        assert [each.outcome for each in reply.decision.attempts if each.expert == "writer"] == ["cancelled"]


async def test_writers_that_break_off_break_no_panels_circuit(tmp_path, upstream):
    writer = openai_expert("writer", upstream.base_url, "reset-mid-stream")
    panels = {"council": {"experts": ["echo", "other"], "aggregator": "synthesis", "judge": "writer"}}
    async with service_of(tmp_path, ECHO, OTHER, writer, panels=panels) as service:
        for _ in range(10):
            reply = await service.pipeline.answer(chat_query("Hello", model="panel/council", stream=True))
            with suppress(Exception):  # how it ends is of no interest here
                await text_of(reply)
        breakers = {status.expert: status.breaker for status in service.scheduler.status()}
        assert breakers["panel/council"] == "closed"


async def test_a_members_error_counts_as_the_panels(tmp_path):
    class Broken:
        async def combine(self, table):
            raise ExpertError("echo", "malformed", "no tokens", lasting=True)

    panels = {"both": {"experts": ["echo"], "aggregator": "vote"}}
    routers = {"same": {"type": "fixed", "expert": "panel/both"}}
    policies = {"auto": {"experts": ["echo", "panel/both"], "router": "same"}}
    async with service_of(tmp_path, ECHO, panels=panels, policies=policies, routers=routers) as service:
        service.fleet.experts["panel/both"]._aggregator = Broken()
        decision = (await service.pipeline.answer(chat_query("Hello"))).decision
        assert [attempt.expert for attempt in decision.attempts] == ["panel/both", "echo"]


async def test_a_picture_is_no_book(tmp_path):
    url = "data:image/png;base64," + "A" * 400_000
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    seeing = [{**spec, "capabilities": ["streaming", "vision"], "context": 32_000} for spec in (ECHO, OTHER, JUDGE)]
    panels = {"council": {"experts": ["echo", "other"], "aggregator": "synthesis", "judge": "judge"}}
    async with service_of(tmp_path, *seeing, panels=panels) as service:
        query = chat_query("What is this?", model="panel/council", needs=frozenset({"vision"}))
        body = {**query.body, "messages": [{"role": "user", "content": content}]}
        decision = (await service.pipeline.answer(replace(query, body=body))).decision
        assert "judge" in {attempt.expert for attempt in decision.attempts}


async def test_an_answer_that_was_cut_off_says_so(tmp_path, upstream):
    choice = {"index": 0, "message": {"role": "assistant", "content": "Half an"}, "finish_reason": "length"}
    upstream.script.append(replies(json.dumps({"object": "chat.completion", "choices": [choice]}).encode()))
    panels = {"one": {"experts": ["cut"], "aggregator": "vote"}}
    async with service_of(tmp_path, openai_expert("cut", upstream.base_url), panels=panels) as service:
        reply = await service.pipeline.answer(chat_query("Hello", model="panel/one"))
        assert json.loads(reply.body)["choices"][0]["finish_reason"] == "length"


async def test_a_member_need_not_stream_for_the_panel_to(tmp_path):
    mute = {"name": "mute", "backend": "echo", "capabilities": []}
    async with service_of(
        tmp_path, ECHO, mute, panels={"two": {"experts": ["echo", "mute"], "aggregator": "vote"}}
    ) as service:
        needs = frozenset({"streaming"})
        reply = await service.pipeline.answer(chat_query("Hello", model="panel/two", stream=True, needs=needs))
        assert await text_of(reply) == "Hello"
        assert member_calls(reply.decision) == 2


async def test_the_writers_time_is_not_the_gateways(tmp_path, upstream):
    upstream.delay_s = 1.0
    writer = openai_expert("writer", upstream.base_url)
    panels = {"council": {"experts": ["echo", "other"], "aggregator": "synthesis", "judge": "writer"}}
    async with service_of(tmp_path, ECHO, OTHER, writer, panels=panels) as service:
        reply = await service.pipeline.answer(chat_query("Hello", model="panel/council", stream=True))
        await text_of(reply)
        assert reply.decision.overhead_ms < 900


async def test_usage_is_what_everybody_used_the_writer_as_well(tmp_path, upstream):
    experts = [openai_expert(name, upstream.base_url) for name in ("a", "b", "writer")]
    panels = {"council": {"experts": ["a", "b"], "aggregator": "synthesis", "judge": "writer"}}
    async with service_of(tmp_path, *experts, panels=panels) as service:
        reply = await service.pipeline.answer(chat_query("Hello", model="panel/council"))
        usage = json.loads(reply.body)["usage"]
        assert member_calls(reply.decision) == 3
        assert usage["completion_tokens"] == reply.decision.completion_tokens == 3 * upstream.num_chunks


async def test_several_answers_are_one_that_is_paid_once(tmp_path, upstream):
    experts = [openai_expert(name, upstream.base_url) for name in ("a", "b", "writer")]
    panels = {"council": {"experts": ["a", "b"], "aggregator": "synthesis", "judge": "writer"}}
    async with service_of(tmp_path, *experts, panels=panels) as service:
        query = chat_query("Hello", model="panel/council")
        reply = await service.pipeline.answer(replace(query, body={**query.body, "n": 3}, num_answers=3))
        assert len(json.loads(reply.body)["choices"]) == 3
        assert [exchange.body.get("n") for exchange in upstream.requests] == [None, None, None]


async def test_calls_that_cost_more_than_was_thought_are_booked_as_they_are():
    table = make_table({"a": "1", "b": "2", "c": "3"}, usd_per_call=0.004, usd=0.01)
    table.colleagues.costs_usd = 0.02
    answers = [await table.ask(name, [{"role": "user", "content": "?"}], round="x") for name in ("a", "b", "c")]
    assert [answer.usable for answer in answers] == [True, False, False]
    assert table.budget.spent_usd == pytest.approx(0.02)


async def test_a_writer_spends_from_the_budget_too(tmp_path):
    panels = {
        "council": {"experts": ["echo", "other"], "aggregator": "synthesis", "judge": "judge", "budget": {"calls": 2}}
    }
    async with service_of(tmp_path, ECHO, OTHER, JUDGE, panels=panels) as service:
        for stream in (False, True):
            reply = await service.pipeline.answer(chat_query("Hello", model="panel/council", stream=stream))
            assert await text_of(reply) == "Hello"
            assert member_calls(reply.decision) == 2
