"""A panel as an expert of the fleet: called, streamed, put in panels, routed to, priced and traced like any other."""

from __future__ import annotations

import asyncio
import json

import pytest

from orchestrator.errors import AllExpertsFailed, ConfigError, RateLimited
from orchestrator.types import RequestOptions
from tests.support.queries import chat_query
from tests.support.service import openai_expert, service_of, text_of
from tests.support.upstream import running_upstream

ECHO = {"name": "echo", "backend": "echo"}
OTHER = {"name": "other", "backend": "echo"}


@pytest.fixture
async def upstream():
    async with running_upstream() as upstream:
        yield upstream


async def test_a_panel_can_sit_in_a_panel_and_its_members_are_on_record(tmp_path):
    panels = {
        "inner": {"experts": ["echo", "other"], "aggregator": "vote"},
        "outer": {"experts": ["panel/inner", "echo"], "aggregator": "vote"},
    }
    async with service_of(tmp_path, ECHO, OTHER, panels=panels) as service:
        reply = await service.pipeline.answer(chat_query("Hello", model="panel/outer"))
        assert json.loads(reply.body)["model"] == "panel/outer"
        asked = [(attempt.expert, attempt.purpose) for attempt in reply.decision.attempts]
        assert sorted(asked) == sorted(
            [
                ("echo", "answer"),
                ("other", "answer"),
                ("panel/inner", "panel"),
                ("echo", "answer"),
                ("panel/outer", "panel"),
            ]
        )
        assert len(reply.decision.transcript) == 4


async def test_a_budget_holds_for_the_panels_within(tmp_path):
    panels = {
        "inner": {"experts": ["echo", "other"], "aggregator": "vote"},
        "outer": {"experts": ["panel/inner", "echo"], "aggregator": "vote", "budget": {"calls": 2}},
    }
    async with service_of(tmp_path, ECHO, OTHER, panels=panels) as service:
        reply = await service.pipeline.answer(chat_query("Hello", model="panel/outer"))
        assert sum(attempt.purpose == "answer" for attempt in reply.decision.attempts) == 2


async def test_a_request_can_have_fewer_calls_than_the_panel(tmp_path):
    panels = {"both": {"experts": ["echo", "other"], "aggregator": "vote", "budget": {"calls": 5}}}
    async with service_of(tmp_path, ECHO, OTHER, panels=panels) as service:
        query = chat_query("Hello", model="panel/both", options=RequestOptions(max_calls=1))
        decision = (await service.pipeline.answer(query)).decision
        assert sum(attempt.purpose == "answer" for attempt in decision.attempts) == 1
        assert "the budget of 1 calls is spent" in decision.reason


async def test_a_policy_can_choose_a_panel(tmp_path):
    panels = {"both": {"experts": ["echo", "other"], "aggregator": "vote"}}
    routers = {"same": {"type": "fixed", "expert": "panel/both"}}
    policies = {"auto": {"experts": ["echo", "panel/both"], "router": "same"}}
    async with service_of(tmp_path, ECHO, OTHER, panels=panels, policies=policies, routers=routers) as service:
        decision = (await service.pipeline.answer(chat_query("Hello"))).decision
        assert (decision.expert, decision.policy, decision.mode) == ("panel/both", "auto", "one")
        assert decision.scores == {"echo": 0.0, "panel/both": 1.0}
        assert "vote: 2 of 2 agree" in decision.reason


async def test_another_expert_answers_where_a_routed_panel_fails(tmp_path, upstream):
    broken = openai_expert("broken", upstream.base_url, "html")
    panels = {"bad": {"experts": ["broken"], "aggregator": "vote"}}
    routers = {"same": {"type": "fixed", "expert": "panel/bad"}}
    policies = {"auto": {"experts": ["echo", "panel/bad"], "router": "same"}}
    async with service_of(tmp_path, ECHO, broken, panels=panels, policies=policies, routers=routers) as service:
        decision = (await service.pipeline.answer(chat_query("Hello"))).decision
        assert decision.expert == "echo"
        failed = next(attempt for attempt in decision.attempts if attempt.expert == "panel/bad")
        assert failed.outcome == "no_quorum"
        assert "0 of 1 members answered" in failed.message


async def test_a_panel_none_of_whose_members_answers_says_what_they_failed_of(tmp_path, upstream):
    broken = [openai_expert(name, upstream.base_url, "html") for name in ("a", "b")]
    limited = [openai_expert(name, upstream.base_url, "429") for name in ("c", "d")]
    panels = {"bad": {"experts": ["a", "b"], "aggregator": "vote"}, "busy": {"experts": ["c", "d"]}}
    async with service_of(tmp_path, *broken, *limited, panels=panels) as service:
        with pytest.raises(AllExpertsFailed, match=r"0 of 2 members answered, and 1 are needed \(a: "):
            await service.pipeline.answer(chat_query(model="panel/bad"))
        with pytest.raises(RateLimited):
            await service.pipeline.answer(chat_query(model="panel/busy"))


async def test_what_a_panel_fails_of_breaks_no_circuit(tmp_path, upstream):
    broken = openai_expert("broken", upstream.base_url, "422")
    async with service_of(tmp_path, broken, panels={"bad": {"experts": ["broken"]}}) as service:
        for _ in range(10):
            with pytest.raises(Exception, match="scripted"):
                await service.pipeline.answer(chat_query(model="panel/bad"))
        breakers = {status.expert: status.breaker for status in service.scheduler.status()}
        assert breakers["panel/bad"] == "closed"


async def test_who_leaves_cancels_every_member(tmp_path):
    slow = [{"name": name, "backend": "echo", "latency_s": 60} for name in ("a", "b")]
    async with service_of(tmp_path, *slow, panels={"both": {"experts": ["a", "b"], "aggregator": "vote"}}) as service:
        task = asyncio.create_task(service.pipeline.answer(chat_query(model="panel/both")))
        while sum(status.leases for status in service.scheduler.status()) < 3:  # noqa: ASYNC110  no event tells
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert all(status.leases == 0 for status in service.scheduler.status())


@pytest.mark.parametrize(
    ("panels", "told"),
    [
        ({"a": {"experts": ["panel/a"]}}, "'panel/a' sits in itself: panel/a > panel/a"),
        (
            {"a": {"experts": ["panel/b"]}, "b": {"experts": ["echo", "panel/a"]}},
            "'panel/a' sits in itself: panel/a > panel/b > panel/a",
        ),
        ({"a": {"experts": ["echo"], "judge": "panel/a"}}, "'panel/a' sits in itself"),
        (
            {
                "a": {"experts": ["panel/b"]},
                "b": {"experts": ["panel/c"]},
                "c": {"experts": ["panel/d"]},
                "d": {"experts": ["echo"]},
            },
            "sits deeper than 3 panels: panel/a > panel/b > panel/c > panel/d",
        ),
        ({"a": {"experts": ["panel/none"]}}, "'panel/none' is no expert"),
        ({"a": {"experts": ["echo"], "judge": "nobody"}}, "'nobody' is no expert; expected auto, or one of"),
        ({"a": {"experts": ["echo"], "router": "none"}}, "'none' is no router"),
        (
            {"a": {"experts": ["echo"], "roundz": 2}},
            "unknown parameter 'roundz' of the aggregator 'first', which accepts: none",
        ),
        (
            {"a": {"experts": ["echo"], "budget": {"calls": 0}}},
            "panels.a.budget.calls: got 0, expected a whole number >= 1",
        ),
        (
            {"a": {"experts": ["echo"], "prompts": "none"}},
            "panels.a.prompts: got 'none', expected a folder that exists",
        ),
    ],
)
async def test_a_panel_that_can_not_be_is_an_error_at_load(tmp_path, panels, told):
    with pytest.raises(ConfigError) as caught:
        async with service_of(tmp_path, ECHO, panels=panels):
            pass
    assert told in caught.value.message


async def test_the_judges_answer_is_streamed_as_it_is_written_under_the_panels_name(tmp_path, upstream):
    writer = openai_expert("writer", upstream.base_url, price={"input": 1.0, "output": 1.0})
    panels = {"council": {"experts": ["echo", "other"], "aggregator": "synthesis", "judge": "writer"}}
    async with service_of(tmp_path, ECHO, OTHER, writer, panels=panels) as service:
        query = chat_query("Hello", model="panel/council", stream=True)
        reply = await service.pipeline.answer(query)
        blocks = [block async for block in reply.events]
        assert b'"model":"panel/council"' in b"".join(blocks).replace(b": ", b":")
        assert b"".join(blocks).count(b"data: ") > upstream.num_chunks
        decision = reply.decision
        assert [attempt.expert for attempt in decision.attempts if attempt.purpose == "aggregation"] == ["writer"]
        assert decision.cost_usd == pytest.approx((7 + upstream.num_chunks) / 1e6)
        assert all(status.leases == 0 for status in service.scheduler.status())


async def test_an_answer_stands_where_its_writer_fails(tmp_path, upstream):
    broken = openai_expert("broken", upstream.base_url, "html")
    panels = {"council": {"experts": ["echo", "other"], "aggregator": "synthesis", "judge": "broken"}}
    async with service_of(tmp_path, ECHO, OTHER, broken, panels=panels) as service:
        for stream in (False, True):
            query = chat_query("Hello", model="panel/council", stream=stream)
            reply = await service.pipeline.answer(query)
            assert await text_of(reply) == "Hello"
            assert "broken could not write it" in reply.decision.reason
