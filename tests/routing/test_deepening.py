"""Adaptive depth in serving: who is asked at once, when they agree, and what happens where they don't."""

import asyncio
import json
import time
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from orchestrator.errors import AllExpertsFailed, DeadlineExceeded, RateLimited
from orchestrator.types import Feedback, RequestOptions
from tests.support.confident import confident
from tests.support.queries import chat_query, make_query
from tests.support.service import openai_expert, service_of, text_of
from tests.support.upstream import running_upstream

EXPECTED = {"best": 0.6, "good": 0.55, "fair": 0.5}
"""What the router expects of each; the first two are the gate unless `top_p` says otherwise."""


@pytest.fixture
async def upstreams():
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(running_upstream()) for name in EXPECTED}


@asynccontextmanager
async def deep(tmp_path, upstreams, *, fields=None, panels=None, expected=EXPECTED, **policy):
    outcomes = tmp_path / "O.jsonl"
    outcomes.write_text(json.dumps({"query": "q", "rewards": expected}))
    experts = [openai_expert(name, upstream.base_url, **(fields or {})) for name, upstream in upstreams.items()]
    routers = {"default": {"type": "best_single", "data": str(outcomes)}}
    policies = {"auto": {"mode": "adaptive", **policy}}
    async with service_of(tmp_path, *experts, routers=routers, policies=policies, panels=panels or {}) as service:
        yield service


def say(upstreams, **texts):
    for name, text in texts.items():
        upstreams[name].usual = confident(text)


async def ask(service, query=None):
    query = query or chat_query("What is 6 x 7?")
    reply = await service.pipeline.answer(query)
    return await text_of(reply), reply.decision


def asked(decision):
    return sorted((attempt.expert, attempt.purpose) for attempt in decision.attempts)


async def test_one_answers_alone_where_the_router_is_sure(tmp_path, upstreams):
    say(upstreams, best="It is 42.")
    async with deep(tmp_path, upstreams, sure=0.6) as service:
        text, decision = await ask(service, chat_query("6 x 7?", stream=True))
    assert (text, decision.mode, decision.expert) == ("It is 42.", "one", "best")
    assert asked(decision) == [("best", "answer")]
    assert "expected to earn 0.60, and answers alone" in decision.reason


@pytest.mark.parametrize("stream", [False, True])
async def test_the_best_ones_answer_stands_where_they_agree(tmp_path, upstreams, stream):
    say(upstreams, best="It is 42.", good="42", fair="13")
    async with deep(tmp_path, upstreams) as service:
        text, decision = await ask(service, chat_query("6 x 7?", stream=stream))
    assert (text, decision.mode, decision.expert, decision.status) == ("It is 42.", "adaptive", "best", 200)
    assert asked(decision) == [("best", "sample"), ("good", "sample")]
    assert decision.reason == "best is expected to earn 0.60, less than 0.80, so 2 are asked; they agree"


async def test_a_client_that_waits_is_told(tmp_path, upstreams):
    say(upstreams, best="42", good="42")
    told = []
    async with deep(tmp_path, upstreams) as service:
        await ask(service, chat_query("6 x 7?", tell=told.append))
    assert told == ["best is expected to earn 0.60, less than 0.80, so 2 are asked"]


async def test_a_third_votes_where_two_disagree(tmp_path, upstreams):
    say(upstreams, best="13", good="I get 42.", fair="42")
    async with deep(tmp_path, upstreams) as service:
        text, decision = await ask(service)
    assert (text, decision.expert) == ("I get 42.", "good")
    assert ("fair", "answer") in asked(decision)
    assert "they don't agree, and fair votes too" in decision.reason


async def test_top_p_says_how_many_are_asked_at_once(tmp_path, upstreams):
    say(upstreams, best="13", good="42", fair="42")
    async with deep(tmp_path, upstreams, top_p=0.9) as service:
        text, decision = await ask(service)
    assert (text, len(decision.attempts)) == ("42", 3)
    assert "nobody else could sway the vote" in decision.reason


async def test_who_cannot_sway_the_vote_is_not_asked(tmp_path, upstreams):
    say(upstreams, best="42", good="13", fair="14")
    async with deep(tmp_path, upstreams, expected={**EXPECTED, "best": 0.9}, sure=0.95) as service:
        text, decision = await ask(service)
    assert (text, len(decision.attempts)) == ("42", 2)


async def test_a_panel_is_convened_where_they_disagree_and_streams(tmp_path, upstreams):
    say(upstreams, best="13", good="42", fair="42")
    panels = {"council": {"experts": ["best", "good", "fair"], "aggregator": "vote"}}
    async with deep(tmp_path, upstreams, panel="council", panels=panels) as service:
        text, decision = await ask(service, chat_query("6 x 7?", stream=True))
    assert (text, decision.mode, decision.expert) == ("42", "adaptive", "panel/council")
    assert "they don't agree, and panel/council is convened; vote: 2 of 3 agree" in decision.reason
    assert len(decision.attempts) == 2 + 1 + 3


async def test_where_they_agree_there_is_no_panel(tmp_path, upstreams):
    say(upstreams, best="42", good="42")
    panels = {"council": {"experts": ["fair"]}}
    async with deep(tmp_path, upstreams, panel="council", panels=panels) as service:
        assert asked((await ask(service))[1]) == [("best", "sample"), ("good", "sample")]


async def test_what_was_said_stands_where_the_panel_fails(tmp_path, upstreams):
    say(upstreams, best="13", good="42")
    upstreams["fair"].usual = "500"
    panels = {"council": {"experts": ["fair"]}}
    async with deep(tmp_path, upstreams, panel="council", panels=panels, max_attempts=1) as service:
        text, decision = await ask(service)
    assert (text, decision.expert, decision.status) == ("13", "best", 200)
    assert "but nobody else answered" in decision.reason


async def test_an_answer_that_cannot_be_used_has_no_vote(tmp_path, upstreams):
    say(upstreams, best="I'm sorry, but I can't help with that.", good="42", fair="42")
    async with deep(tmp_path, upstreams) as service:
        text, decision = await ask(service)
    assert text == "42"
    assert "best's answer can't be used: it refuses" in decision.reason


async def test_where_nothing_can_be_used_the_others_are_asked(tmp_path, upstreams):
    upstreams["best"].usual = "500"
    say(upstreams, good="", fair="42")
    async with deep(tmp_path, upstreams, max_attempts=1) as service:
        text, decision = await ask(service, chat_query("6 x 7?", stream=True))
    assert (text, decision.expert) == ("42", "fair")
    assert "best's answer can't be used: it failed" in decision.reason


async def test_an_answer_of_no_use_is_better_than_none(tmp_path, upstreams):
    upstreams["best"].usual = upstreams["fair"].usual = "500"
    say(upstreams, good="I'm sorry, but I can't help with that.")
    async with deep(tmp_path, upstreams, max_attempts=1) as service:
        text, decision = await ask(service)
    assert (text, decision.expert, decision.status) == ("I'm sorry, but I can't help with that.", "good", 200)


async def test_when_nobody_answers_it_is_an_error(tmp_path, upstreams):
    for upstream in upstreams.values():
        upstream.usual = "500"
    async with deep(tmp_path, upstreams, max_attempts=1) as service:
        with pytest.raises(AllExpertsFailed, match="fair: server_error"):
            await ask(service)


async def test_when_all_are_rate_limited_the_client_is_told_so(tmp_path, upstreams):
    for upstream in upstreams.values():
        upstream.usual = "429"
    async with deep(tmp_path, upstreams, top_p=1.0, max_attempts=1) as service:
        with pytest.raises(RateLimited):
            await ask(service)


async def test_the_deadline_is_for_all_together(tmp_path, upstreams):
    say(upstreams, best="13", good="42")
    upstreams["fair"].usual = "hang"
    async with deep(tmp_path, upstreams) as service:
        assert (await ask(service, chat_query("?", deadline=time.monotonic() + 2.0)))[0] == "13"
        upstreams["best"].usual = upstreams["good"].usual = "hang"
        with pytest.raises(DeadlineExceeded):
            await ask(service, chat_query("?", deadline=time.monotonic() + 0.3))


async def test_the_cost_limit_is_for_all_together(tmp_path, upstreams):
    """Each costs at most 0.00052 USD, and about 0.00001 in the end."""
    say(upstreams, best="13", good="42", fair="42")
    fields = {"price": {"input": 1.0, "output": 1.0}, "context": 520}
    body = {"model": "auto", "messages": [{"role": "user", "content": "6 x 7?"}]}

    async with deep(tmp_path, upstreams, fields=fields) as service:

        async def attempts(limit):
            query = make_query("chat", body, options=RequestOptions(max_cost_usd=limit))
            return len((await ask(service, query))[1].attempts)

        assert await attempts(0.002) == 3
        assert await attempts(0.00105) == 3  # what the first two did cost leaves room for the third
        assert await attempts(0.0006) == 1  # two might not fit


async def test_cancelling_cancels_everybody(tmp_path, upstreams):
    upstreams["best"].usual = upstreams["good"].usual = "hang"
    async with deep(tmp_path, upstreams) as service:
        asking = asyncio.create_task(service.pipeline.answer(chat_query("?")))
        for name in ("best", "good"):
            while not upstreams[name].requests:
                await upstreams[name].arrived.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        for name in ("best", "good"):
            await upstreams[name].gone.wait()
        assert [status.leases for status in service.scheduler.status()] == [0, 0, 0]


async def test_several_answers_at_once_are_asked_of_one(tmp_path, upstreams):
    async with deep(tmp_path, upstreams) as service:
        _, decision = await ask(service, chat_query("?", num_answers=2))
    assert (decision.mode, decision.expert) == ("one", "best")


async def test_the_same_tool_calls_agree(tmp_path, upstreams):
    call = {"id": "c1", "type": "function", "function": {"name": "sum", "arguments": '{"of": [4, 2]}'}}
    for upstream in upstreams.values():
        upstream.message = {"role": "assistant", "content": None, "tool_calls": [call]}
    async with deep(tmp_path, upstreams) as service:
        reply = await service.pipeline.answer(chat_query("?"))
    assert json.loads(reply.body)["choices"][0]["message"]["tool_calls"] == [call]
    assert len(reply.decision.attempts) == 2


async def test_the_route_is_told_without_asking(tmp_path, upstreams):
    async with deep(tmp_path, upstreams) as service:
        decision = await service.pipeline.route(chat_query("?"))
    assert (decision.mode, decision.expert) == ("adaptive", "best")
    assert not any(upstream.requests for upstream in upstreams.values())


async def test_what_a_vote_came_to_is_an_outcome_at_its_own_cost_and_without_a_propensity(tmp_path, upstreams):
    say(upstreams, best="42", good="42")
    async with deep(tmp_path, upstreams, fields={"price": {"input": 1.0, "output": 1.0}}) as service:
        _, decision = await ask(service)
        await service.ledger.feedback(Feedback(decision.id, score=1.0))
        [outcome] = [outcome async for outcome in service.ledger.outcomes()]
    [cost] = [attempt.cost_usd for attempt in decision.attempts if attempt.expert == "best"]
    assert outcome.costs == {"best": pytest.approx(cost)}
    assert decision.cost_usd == pytest.approx(2 * cost)
    assert outcome.propensity == {}


async def test_a_panels_answer_costs_what_its_members_do_and_not_what_the_gate_did(tmp_path, upstreams):
    say(upstreams, best="13", good="42", fair="42")
    panels = {"council": {"experts": ["good", "fair"], "aggregator": "vote"}}
    fields = {"price": {"input": 1.0, "output": 1.0}}
    async with deep(tmp_path, upstreams, fields=fields, panel="council", panels=panels) as service:
        _, decision = await ask(service)
        await service.ledger.feedback(Feedback(decision.id, score=1.0))
        [outcome] = [outcome async for outcome in service.ledger.outcomes()]
    gate_usd = sum(attempt.cost_usd for attempt in decision.attempts if attempt.purpose == "sample")
    assert outcome.rewards == {"panel/council": 1.0}
    assert outcome.costs == {"panel/council": pytest.approx(decision.cost_usd - gate_usd)}


@pytest.mark.parametrize(("max_calls", "asked"), [(1, ["best"]), (2, ["best", "good"]), (3, ["best", "fair", "good"])])
async def test_no_more_calls_than_the_request_allows(tmp_path, upstreams, max_calls, asked):
    """Finding 5 of the review of panels: the gate, the arbiter and a panel ignored `max_calls`."""
    say(upstreams, best="13", good="42", fair="42")
    async with deep(tmp_path, upstreams) as service:
        _, decision = await ask(service, chat_query("6 x 7?", options=RequestOptions(max_calls=max_calls)))
    assert sorted(attempt.expert for attempt in decision.attempts) == asked


@pytest.mark.parametrize(("max_calls", "convened"), [(2, 0), (3, 1), (4, 2), (None, 3)])
async def test_a_panel_has_the_calls_that_the_gate_leaves(tmp_path, upstreams, max_calls, convened):
    say(upstreams, best="13", good="42", fair="42")
    panels = {"council": {"experts": ["best", "good", "fair"], "aggregator": "vote"}}
    async with deep(tmp_path, upstreams, panel="council", panels=panels) as service:
        _, decision = await ask(service, chat_query("6 x 7?", options=RequestOptions(max_calls=max_calls)))
    assert sum(len(upstream.requests) for upstream in upstreams.values()) == 2 + convened
    assert (decision.expert == "panel/council") == bool(convened)


async def test_a_panel_in_the_gate_has_the_calls_that_the_others_leave(tmp_path, upstreams):
    say(upstreams, best="42", good="42", fair="42")
    panels = {"council": {"experts": ["best", "good", "fair"], "aggregator": "vote"}}
    expected = {"panel/council": 0.6, "good": 0.55}
    policy = {"expected": expected, "experts": list(expected)}
    async with deep(tmp_path, upstreams, panels=panels, **policy) as service:
        _, decision = await ask(service, chat_query("6 x 7?", options=RequestOptions(max_calls=3)))
    assert decision.expert == "panel/council"
    assert sum(len(upstream.requests) for upstream in upstreams.values()) == 3


async def test_when_nobody_answers_nobody_is_asked_beyond_the_calls(tmp_path, upstreams):
    for upstream in upstreams.values():
        upstream.usual = "500"
    async with deep(tmp_path, upstreams) as service:
        with pytest.raises(AllExpertsFailed, match="best: server_error"):
            await ask(service, chat_query("?", options=RequestOptions(max_calls=2)))
    assert sum(len(upstream.requests) for upstream in upstreams.values()) == 2


@pytest.mark.parametrize("panel", [None, "council"])
@pytest.mark.parametrize("good", ["13", "42"])
async def test_usage_is_what_everybody_used(tmp_path, upstreams, good, panel):
    """w9 of the review of panels: it was the winner's alone."""
    say(upstreams, best="42", good=good, fair="13")
    panels = {"council": {"experts": ["best", "good", "fair"], "aggregator": "vote"}}
    policy = {} if panel is None else {"panel": panel, "panels": panels}
    async with deep(tmp_path, upstreams, **policy) as service:
        reply = await service.pipeline.answer(chat_query("6 x 7?"))
    usage, calls = json.loads(reply.body)["usage"], sum(len(upstream.requests) for upstream in upstreams.values())
    assert calls == (2 if good == "42" else 3 if panel is None else 5)
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (7 * calls, 4 * calls)
    assert (reply.decision.prompt_tokens, reply.decision.completion_tokens) == (7 * calls, 4 * calls)


async def test_usage_is_what_everybody_used_where_the_last_is_asked_live(tmp_path, upstreams):
    """Each is charged for its own."""
    say(upstreams, best="", good="", fair="42")
    async with deep(tmp_path, upstreams, fields={"price": {"input": 1.0, "output": 1.0}}) as service:
        reply = await service.pipeline.answer(chat_query("6 x 7?"))
    usage = json.loads(reply.body)["usage"]
    assert usage == {"prompt_tokens": 21, "completion_tokens": 12, "total_tokens": 33}
    assert reply.decision.cost_usd == pytest.approx(33e-6)
