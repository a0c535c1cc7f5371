"""Cascades in serving: the cheap expert's answer is held back until it is judged, and what happens then."""

import asyncio
import json
import math
import time

import pytest

from orchestrator.errors import AllExpertsFailed, DeadlineExceeded
from orchestrator.types import Feedback, RequestOptions
from tests.support.confident import confident
from tests.support.queries import chat_query, make_query
from tests.support.service import openai_expert, service_of, text_of
from tests.support.upstream import running_upstream

CAPABLE = ["streaming", "logprobs", "tools"]
CHEAP, DEAR = {"input": 1.0, "output": 1.0}, {"input": 100.0, "output": 100.0}
SURE, UNSURE = math.log(0.9), math.log(0.4)
THRIFTY = {"mode": "cascade", "threshold": 0.7}


@pytest.fixture
async def weak():
    async with running_upstream() as upstream:
        upstream.usual = confident("weak says Paris", SURE)
        yield upstream


@pytest.fixture
async def strong():
    async with running_upstream() as upstream:
        upstream.usual = confident("strong says Paris", SURE)
        yield upstream


def experts(weak, strong):
    """`strong` is the router's favourite."""
    return (
        openai_expert("strong", strong.base_url, capabilities=CAPABLE, price=DEAR),
        openai_expert("weak", weak.base_url, capabilities=CAPABLE, price=CHEAP),
    )


def cascade(tmp_path, weak, strong, *others, **policy):
    return service_of(tmp_path, *experts(weak, strong), *others, policies={"auto": {**THRIFTY, **policy}})


async def ask(service, query=None):
    query = query or chat_query("Capital of France?")
    reply = await service.pipeline.answer(query)
    text = await text_of(reply)
    return text, await service.ledger.decision(query.id)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("confidence", ["logprobs", "dispersion"])
async def test_a_sure_answer_stands(tmp_path, weak, strong, stream, confidence):
    weak.usual = confident("weak says Paris", math.log(0.99))
    async with cascade(tmp_path, weak, strong, confidence=confidence) as service:
        text, decision = await ask(service, chat_query("Capital?", stream=stream))
    assert text == "weak says Paris"
    assert (decision.mode, decision.expert, decision.status) == ("cascade", "weak", 200)
    assert decision.confidence["weak"] > 0.7
    assert not strong.requests


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("confidence", ["logprobs", "dispersion"])
async def test_an_unsure_answer_is_never_seen(tmp_path, weak, strong, stream, confidence):
    weak.usual = confident("weak says Lyon", math.log(0.5))
    async with cascade(tmp_path, weak, strong, confidence=confidence) as service:
        text, decision = await ask(service, chat_query("Capital?", stream=stream))
    assert text == "strong says Paris"
    assert decision.expert == "strong"
    assert [(a.expert, a.outcome) for a in decision.attempts] == [("weak", "ok"), ("strong", "ok")]
    assert decision.confidence["weak"] < 0.7
    assert "weak is not sure" in decision.reason


async def test_every_attempt_has_its_cost(tmp_path, weak, strong):
    weak.usual = confident("weak says Lyon", UNSURE)
    async with cascade(tmp_path, weak, strong) as service:
        _, decision = await ask(service)
    first, second = (attempt.cost_usd for attempt in decision.attempts)
    assert 0 < first < second
    assert decision.cost_usd == pytest.approx(first + second)
    assert second == pytest.approx(100 * first)


async def test_logprobs_are_for_who_asked_for_them(tmp_path, weak, strong):
    async with cascade(tmp_path, weak, strong, confidence="dispersion") as service:
        weak.usual = confident("weak says Paris", math.log(0.99))
        silent = await service.pipeline.answer(chat_query("Capital?"))
        body = {
            "model": "auto",
            "messages": [{"role": "user", "content": "Capital?"}],
            "logprobs": True,
            "top_logprobs": 1,
        }
        asked = await service.pipeline.answer(make_query("chat", body, needs=frozenset({"logprobs"})))
    assert json.loads(silent.body)["choices"][0]["logprobs"] is None
    tokens = json.loads(asked.body)["choices"][0]["logprobs"]["content"]
    assert [len(token["top_logprobs"]) for token in tokens] == [1, 1, 1]
    assert weak.requests[1].body["top_logprobs"] == 5


async def test_a_held_stream_is_sent_as_it_came(tmp_path, weak, strong):
    async with cascade(tmp_path, weak, strong) as service:
        reply = await service.pipeline.answer(chat_query("Capital?", stream=True))
        blocks = [block async for block in reply.events]
    assert blocks[-1] == b"data: [DONE]\n\n"
    chunks = [json.loads(block[6:]) for block in blocks[:-1]]
    assert [c["choices"][0]["delta"].get("content") for c in chunks] == ["", "weak", " says", " Paris", None]
    assert {c["model"] for c in chunks} == {"weak"}
    assert all(c["choices"][0]["logprobs"] is None for c in chunks)


async def test_samples_that_agree_are_sure(tmp_path, weak, strong):
    async with cascade(tmp_path, weak, strong, confidence="agreement", samples=3) as service:
        text, decision = await ask(service)
        assert (text, decision.confidence) == ("weak says Paris", {"weak": 1.0})
        assert [(a.expert, a.purpose) for a in decision.attempts] == [("weak", "sample")] * 3
        assert sorted(r.body.get("temperature", 0.0) for r in weak.requests) == [0.0, 0.7, 0.7]
        weak.script.extend([confident("42"), confident("43"), confident("44")])
        text, decision = await ask(service)
        assert (text, decision.confidence) == ("strong says Paris", {"weak": 0.0})


async def test_the_expert_is_asked_whether_it_is_right(tmp_path, weak, strong):
    async with cascade(tmp_path, weak, strong, confidence="self") as service:
        weak.usual = confident("weak says Paris", yes=0.9)
        text, decision = await ask(service)
        assert (text, decision.confidence["weak"]) == ("weak says Paris", pytest.approx(0.9))
        assert [a.purpose for a in decision.attempts] == ["answer", "check"]
        question, answer, check = weak.requests[-1].body["messages"]
        assert (question["content"], answer["content"]) == ("Capital of France?", "weak says Paris")
        assert "right?" in check["content"]
        weak.usual = confident("weak says Lyon", yes=0.2)
        assert (await ask(service))[0] == "strong says Paris"


async def test_an_expert_that_fails_is_not_sure(tmp_path, weak, strong):
    weak.usual = "500"
    async with cascade(tmp_path, weak, strong) as service:
        text, decision = await ask(service)
    assert text == "strong says Paris"
    assert [(a.expert, a.outcome) for a in decision.attempts] == [("weak", "server_error"), ("strong", "ok")]


@pytest.mark.parametrize("said", [confident("", SURE), confident("weak says Paris", -math.inf), "ok"])
async def test_an_empty_answer_or_one_without_logprobs_does_not_stand(tmp_path, weak, strong, said):
    weak.usual = "ok" if said == "ok" else said
    async with cascade(tmp_path, weak, strong) as service:
        assert (await ask(service))[0] == "strong says Paris"


async def test_an_unsure_answer_is_better_than_none(tmp_path, weak, strong):
    weak.usual, strong.usual = confident("weak says Lyon", UNSURE), "500"
    async with cascade(tmp_path, weak, strong, max_attempts=1) as service:
        text, decision = await ask(service)
    assert (text, decision.expert, decision.status) == ("weak says Lyon", "weak", 200)
    assert "nobody else answered" in decision.reason


async def test_the_deadline_is_for_all_steps_together(tmp_path, weak, strong):
    async with cascade(tmp_path, weak, strong) as service:
        weak.usual, strong.usual = confident("weak says Lyon", UNSURE), "hang"
        query = chat_query("Capital?", deadline=time.monotonic() + 2.0)
        assert (await ask(service, query))[0] == "weak says Lyon"
        weak.usual = "hang"
        with pytest.raises(DeadlineExceeded):
            await ask(service, chat_query("Capital?", deadline=time.monotonic() + 0.3))


async def test_when_nobody_answers_it_is_an_error(tmp_path, weak, strong):
    weak.usual = strong.usual = "500"
    async with cascade(tmp_path, weak, strong, max_attempts=1) as service:
        with pytest.raises(AllExpertsFailed, match="strong: server_error"):
            await ask(service)


async def test_the_cost_limit_is_for_all_attempts_together(tmp_path, weak, strong):
    """Strong alone would cost 0.003 USD at most, weak has cost 0.000011 by then."""
    weak.usual = confident("weak says Lyon", UNSURE)
    async with service_of(
        tmp_path, *(expert | {"context": 2000} for expert in experts(weak, strong)), policies={"auto": THRIFTY}
    ) as service:
        body = {"model": "auto", "max_tokens": 20, "messages": [{"role": "user", "content": "Capital?"}]}

        def query(limit):
            return make_query("chat", body, options=RequestOptions(max_cost_usd=limit))

        assert (await ask(service, query(0.00302)))[0] == "strong says Paris"
        text, decision = await ask(service, query(0.003))
        assert (text, decision.expert) == ("weak says Lyon", "weak")
        assert "nobody else fits the request's limits" in decision.reason


async def test_whoever_cannot_be_judged_is_not_asked_first(tmp_path, weak, strong):
    mute = openai_expert("mute", weak.base_url, price={"input": 0.1, "output": 0.1})
    async with cascade(tmp_path, weak, strong, mute) as service:
        text, decision = await ask(service)
    assert text == "weak says Paris"
    assert "mute" in decision.plan


async def test_without_a_cheaper_expert_that_can_be_judged_there_is_no_cascade(tmp_path, weak, strong):
    blind = [expert | {"capabilities": ["streaming"]} for expert in experts(weak, strong)]
    async with service_of(tmp_path, *blind, policies={"auto": THRIFTY}) as service:
        text, decision = await ask(service)
    assert (text, decision.mode) == ("strong says Paris", "one")


async def test_several_answers_at_once_are_no_cascades(tmp_path, weak, strong):
    async with cascade(tmp_path, weak, strong, confidence="agreement") as service:
        _, decision = await ask(service, chat_query("Capital?", num_answers=2))
    assert (decision.mode, decision.expert) == ("one", "strong")


async def test_three_steps_end_at_the_best(tmp_path, weak, strong):
    weak.usual = confident("weak says Lyon", UNSURE)
    middle = openai_expert("middle", weak.base_url, capabilities=CAPABLE, price={"input": 10, "output": 10})
    first, last = experts(weak, strong)
    routers = {"default": {"type": "fixed", "order": ["strong", "middle", "weak"]}}
    policies = {"auto": {**THRIFTY, "steps": 3}}
    async with service_of(tmp_path, first, last, middle, routers=routers, policies=policies) as service:
        text, decision = await ask(service)
    assert text == "strong says Paris"
    assert [a.expert for a in decision.attempts] == ["weak", "middle", "strong"]
    assert set(decision.confidence) == {"weak", "middle"}


async def test_cancelling_cancels_the_expert_that_is_asked_and_its_samples(tmp_path, weak, strong):
    weak.usual = "hang"
    async with cascade(tmp_path, weak, strong, confidence="agreement") as service:
        query = chat_query("Capital?")
        asking = asyncio.create_task(service.pipeline.answer(query))
        while len(weak.requests) < 3:
            await weak.arrived.wait()
            weak.arrived.clear()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await weak.gone.wait()
        assert [status.leases for status in service.scheduler.status()] == [0, 0]
        decision = await service.ledger.decision(query.id)
    assert [a.outcome for a in decision.attempts] == ["cancelled"] * 3
    assert not strong.requests


async def test_a_conversation_that_climbed_stays_with_the_better_expert(tmp_path, weak, strong):
    weak.usual = confident("weak says Lyon", UNSURE)
    async with cascade(tmp_path, weak, strong) as service:
        await ask(service, chat_query("Capital?", session="s"))
        weak.usual = confident("weak says Paris", SURE)
        text, decision = await ask(service, chat_query("And of Spain?", session="s", continues=True))
    assert (text, decision.mode) == ("strong says Paris", "one")
    assert len(weak.requests) == 1


async def test_a_conversation_that_the_cheap_expert_has_is_judged_every_time(tmp_path, weak, strong):
    async with cascade(tmp_path, weak, strong, stay=1.0) as service:
        await ask(service, chat_query("Capital?", session="s"))
        weak.usual = confident("weak says Lyon", UNSURE)
        text, _ = await ask(service, chat_query("And of Spain?", session="s", continues=True))
        in_tools = chat_query("And?", session="s", continues=True, tool_loop=True)
        assert text == "strong says Paris"
        assert (await ask(service, in_tools))[1].mode == "one"


async def test_the_route_is_told_without_asking(tmp_path, weak, strong):
    async with cascade(tmp_path, weak, strong) as service:
        decision = await service.pipeline.route(chat_query("Capital?"))
    assert (decision.mode, decision.expert, decision.plan) == ("cascade", "weak", ("strong", "weak"))
    assert "weak is asked first" in decision.reason
    assert not weak.requests


@pytest.mark.parametrize("confidence", ["logprobs", "self", "agreement"])
async def test_completions_climb_too(tmp_path, weak, strong, confidence):
    weak.usual = confident("weak says Paris", SURE, yes=0.9)
    async with cascade(tmp_path, weak, strong, confidence=confidence) as service:
        query = make_query("completion", {"model": "auto", "prompt": "The capital of France is"})
        reply = await service.pipeline.answer(query)
    assert json.loads(reply.body)["choices"][0]["text"] == "weak says Paris"


async def test_tool_calls_agree_when_they_are_the_same(tmp_path, weak, strong):
    call = {"id": "c1", "type": "function", "function": {"name": "capital", "arguments": '{"of": "France"}'}}
    weak.usual, weak.message = "ok", {"role": "assistant", "content": None, "tool_calls": [call]}
    async with cascade(tmp_path, weak, strong, confidence="agreement") as service:
        reply = await service.pipeline.answer(chat_query("Capital?"))
    assert json.loads(reply.body)["choices"][0]["message"]["tool_calls"] == [call]
    assert reply.decision.confidence == {"weak": 1.0}


async def test_what_a_cascade_came_to_is_an_outcome_at_its_own_cost_and_without_a_propensity(tmp_path, weak, strong):
    weak.usual = confident("weak says Lyon", UNSURE)
    async with cascade(tmp_path, weak, strong) as service:
        _, decision = await ask(service)
        await service.ledger.feedback(Feedback(decision.id, score=1.0))
        [outcome] = [outcome async for outcome in service.ledger.outcomes()]
    assert outcome.rewards == {"strong": 1.0}
    assert outcome.costs == {"strong": pytest.approx(decision.attempts[-1].cost_usd)}
    assert outcome.propensity == {}


def limited(max_calls, **changes):
    return chat_query("Capital?", options=RequestOptions(max_calls=max_calls), **changes)


@pytest.mark.parametrize(
    ("confidence", "max_calls", "asked"),
    [
        ("logprobs", 1, ["strong"]),
        ("logprobs", 2, ["weak", "strong"]),
        ("self", 2, ["strong"]),
        ("self", 3, ["weak", "weak", "strong"]),
        ("agreement", 3, ["strong"]),
        ("agreement", 4, ["weak", "weak", "weak", "strong"]),
    ],
)
async def test_no_more_calls_than_the_request_allows(tmp_path, weak, strong, confidence, max_calls, asked):
    """Finding 5 of the review of panels: policies that may ask several ignored `max_calls`."""
    weak.usual = confident("weak says Lyon", UNSURE, yes=0.1)
    async with cascade(tmp_path, weak, strong, confidence=confidence, threshold=1.0) as service:
        if confidence == "agreement":
            weak.script.extend(confident(town) for town in ("Lyon", "Nice", "Metz"))
        text, decision = await ask(service, limited(max_calls))
    assert text == "strong says Paris"
    assert [attempt.expert for attempt in decision.attempts] == asked


async def test_as_many_steps_as_calls(tmp_path, weak, strong):
    async with running_upstream(usual=confident("mid says Paris", UNSURE)) as mid:
        weak.usual = confident("weak says Lyon", UNSURE)
        middle = openai_expert("mid", mid.base_url, capabilities=CAPABLE, price={"input": 10.0, "output": 10.0})
        async with cascade(tmp_path, weak, strong, middle, steps=3) as service:
            assert [len((await ask(service, limited(most)))[1].attempts) for most in (2, 3)] == [2, 3]


async def test_attempts_that_fail_are_calls_too(tmp_path, weak, strong):
    weak.usual, strong.usual = confident("weak says Lyon", UNSURE), "500"
    async with cascade(tmp_path, weak, strong) as service:
        text, decision = await ask(service, limited(2))
    assert (text, len(weak.requests), len(strong.requests)) == ("weak says Lyon", 1, 1)
    assert "nobody else answered" in decision.reason


async def test_a_panel_that_is_the_last_step_has_the_calls_that_are_left(tmp_path, weak, strong):
    weak.usual = confident("weak says Lyon", UNSURE)
    panels = {"both": {"experts": ["strong", "weak"], "aggregator": "vote"}}
    policies = {"auto": {**THRIFTY, "experts": ["weak", "panel/both"]}}
    routers = {"default": {"type": "fixed", "expert": "panel/both"}}
    async with service_of(
        tmp_path, *experts(weak, strong), panels=panels, policies=policies, routers=routers
    ) as service:
        for query, num_asked in ((limited(2), 2), (chat_query("Capital?"), 3)):
            _, decision = await ask(service, query)
            assert decision.expert == "panel/both"
            assert (
                sum(attempt.outcome == "ok" for attempt in decision.attempts if attempt.purpose == "answer")
                == num_asked
            )


@pytest.mark.parametrize(("says_lyon", "num_asked"), [("weak says Lyon", 2), ("weak says Paris", 1)])
async def test_usage_is_what_everybody_used(tmp_path, weak, strong, says_lyon, num_asked):
    """7 tokens were read and 4 written in each call; what each is charged for is its own."""
    weak.usual = confident(says_lyon, UNSURE if num_asked == 2 else SURE)
    async with cascade(tmp_path, weak, strong) as service:
        query = chat_query("Capital?")
        reply = await service.pipeline.answer(query)
        decision = await service.ledger.decision(query.id)
    usage = json.loads(reply.body)["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (7 * num_asked, 4 * num_asked)
    assert usage["total_tokens"] == 11 * num_asked
    assert (decision.prompt_tokens, decision.completion_tokens) == (7 * num_asked, 4 * num_asked)
    costs = [attempt.cost_usd for attempt in decision.attempts]
    assert costs == pytest.approx([11e-6, 1100e-6][:num_asked])
