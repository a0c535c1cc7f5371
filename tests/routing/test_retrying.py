"""An answer that can't be used is asked for again, of the next best expert: `retry_unusable`, and `confidence: usable`."""

import json
from contextlib import AsyncExitStack

import pytest

from orchestrator.errors import AllExpertsFailed, RequestError
from orchestrator.types import RequestOptions
from tests.support.confident import confident
from tests.support.queries import chat_query, make_query
from tests.support.service import openai_expert, service_of, text_of
from tests.support.upstream import running_upstream, says

REFUSAL = "I'm sorry, but I can't help with that."


@pytest.fixture
async def upstreams():
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running_upstream()) for _ in range(3)]


def retrying(tmp_path, upstreams, *, prices=(3.0, 2.0, 1.0), **policy):
    """Experts e0, e1 and e2: the router likes them in this order, and the last is the cheapest."""
    experts = [
        openai_expert(f"e{i}", upstream.base_url, price={"input": price, "output": price}, context=520)
        for i, (upstream, price) in enumerate(zip(upstreams, prices, strict=True))
    ]
    return service_of(tmp_path, *experts, policies={"auto": policy or {"retry_unusable": True}})


async def ask(service, query=None):
    reply = await service.pipeline.answer(query or chat_query("Capital of France?"))
    return await text_of(reply), reply.decision


@pytest.mark.parametrize("stream", [False, True])
async def test_the_next_best_is_asked_while_answers_cannot_be_used(tmp_path, upstreams, stream):
    for upstream, text in zip(upstreams, (REFUSAL, "", "Paris."), strict=True):
        upstream.usual = confident(text)
    async with retrying(tmp_path, upstreams) as service:
        text, decision = await ask(service, chat_query("Capital?", stream=stream))
    assert (text, decision.expert, decision.mode) == ("Paris.", "e2", "cascade")
    assert [attempt.expert for attempt in decision.attempts] == ["e0", "e1", "e2"]
    assert decision.reason.split("; ") == [
        "e0's answer can't be used: it refuses",
        "e1's answer can't be used: it is empty",
        "e2's answer can be used",
    ]


async def test_a_usable_answer_stands_and_nobody_else_is_asked(tmp_path, upstreams):
    upstreams[0].usual = confident("Paris.")
    async with retrying(tmp_path, upstreams) as service:
        text, decision = await ask(service)
    assert (text, len(decision.attempts)) == ("Paris.", 1)


async def test_of_answers_that_cannot_be_used_the_first_stands(tmp_path, upstreams):
    for upstream, text in zip(upstreams, (REFUSAL, "", ""), strict=True):
        upstream.usual = confident(text)
    async with retrying(tmp_path, upstreams) as service:
        text, decision = await ask(service)
    assert (text, decision.expert, len(decision.attempts)) == (REFUSAL, "e0", 3)
    assert decision.reason.endswith("and so e0's stands")


async def test_no_more_are_asked_than_max_attempts(tmp_path, upstreams):
    for upstream, text in zip(upstreams, (REFUSAL, "", "Paris."), strict=True):
        upstream.usual = confident(text)
    async with retrying(tmp_path, upstreams, retry_unusable=True, max_attempts=2) as service:
        text, decision = await ask(service)
    assert (text, len(decision.attempts)) == (REFUSAL, 2)


async def test_an_expert_that_fails_is_passed_over(tmp_path, upstreams):
    upstreams[0].usual = "500"
    upstreams[1].usual = confident("Paris.")
    async with retrying(tmp_path, upstreams) as service:
        assert (await ask(service))[0] == "Paris."


@pytest.mark.parametrize(("behaviour", "error"), [("500", AllExpertsFailed), ("400", RequestError)])
async def test_when_all_fail_it_is_their_error(tmp_path, upstreams, behaviour, error):
    for upstream in upstreams:
        upstream.usual = behaviour
    async with retrying(tmp_path, upstreams, retry_unusable=True, max_attempts=2) as service:
        with pytest.raises(error):
            await ask(service)


async def test_json_that_does_not_fit_is_asked_for_again(tmp_path, upstreams):
    upstreams[0].usual = confident('{"city": ')
    upstreams[1].usual = confident('{"city": "Paris"}')
    body = {"model": "auto", "messages": [{"role": "user", "content": "Capital?"}]}
    async with retrying(tmp_path, upstreams) as service:
        query = make_query("chat", body | {"response_format": {"type": "json_object"}})
        assert json.loads((await ask(service, query))[0]) == {"city": "Paris"}


async def test_the_cost_limit_is_for_all_attempts_together(tmp_path, upstreams):
    """One answer of e0 or e2 costs at most 0.00052 USD, and a hundredth of it in the end; one of e1 does not fit at all."""
    for upstream, text in zip(upstreams, (REFUSAL, REFUSAL, "Paris."), strict=True):
        upstream.usual = confident(text)
    body = {"model": "auto", "messages": [{"role": "user", "content": "Capital?"}]}
    async with retrying(tmp_path, upstreams, prices=(1.0, 3.0, 1.0)) as service:

        async def asked(limit):
            decision = (await ask(service, make_query("chat", body, options=RequestOptions(max_cost_usd=limit))))[1]
            return [attempt.expert for attempt in decision.attempts]

        assert await asked(0.0006) == ["e0", "e2"]
        assert await asked(0.000525) == ["e0"]


async def test_a_cascade_can_go_by_use_from_the_cheapest_on(tmp_path, upstreams):
    for upstream, text in zip(upstreams, ("Paris.", "Paris, says e1.", REFUSAL), strict=True):
        upstream.usual = confident(text)
    async with retrying(tmp_path, upstreams, mode="cascade", confidence="usable", steps=2) as service:
        text, decision = await ask(service)
    assert (text, [attempt.expert for attempt in decision.attempts]) == ("Paris.", ["e2", "e0"])
    assert decision.reason.startswith("e2's answer can't be used: it refuses")


async def test_when_all_fail_all_are_tried_again(tmp_path, upstreams):
    """Finding 21 of the review of panels: only the last was."""
    for upstream in upstreams:
        upstream.script.append("503")
        upstream.usual = confident("Paris.")
    async with retrying(tmp_path, upstreams) as service:
        _, decision = await ask(service)
    assert [attempt.expert for attempt in decision.attempts] == ["e0", "e1", "e2", "e0"]


async def test_no_more_calls_than_the_request_allows(tmp_path, upstreams):
    for upstream, text in zip(upstreams, (REFUSAL, "", "Paris."), strict=True):
        upstream.usual = confident(text)
    async with retrying(tmp_path, upstreams) as service:
        for most, asked in ((1, ["e0"]), (2, ["e0", "e1"]), (3, ["e0", "e1", "e2"])):
            _, decision = await ask(service, chat_query("?", options=RequestOptions(max_calls=most)))
            assert [attempt.expert for attempt in decision.attempts] == asked


async def test_when_all_fail_nobody_is_tried_again_beyond_the_calls(tmp_path, upstreams):
    for upstream in upstreams:
        upstream.usual = "503"
    async with retrying(tmp_path, upstreams) as service:
        with pytest.raises(AllExpertsFailed, match="e1: overloaded"):
            await ask(service, chat_query("?", options=RequestOptions(max_calls=2)))
    assert sum(len(upstream.requests) for upstream in upstreams) == 2


async def test_a_stream_ends_in_the_usage_of_all_attempts(tmp_path, upstreams):
    """7 tokens were read and 4 written in each."""
    for upstream, text in zip(upstreams, (REFUSAL, "Paris.", ""), strict=True):
        upstream.usual = says(lambda body, text=text: {"role": "assistant", "content": text})
    body = {"model": "auto", "messages": [], "stream": True, "stream_options": {"include_usage": True}}
    async with retrying(tmp_path, upstreams) as service:
        reply = await service.pipeline.answer(make_query("chat", body))
        events = b"".join([block async for block in reply.events]).decode().splitlines()
    chunks = [json.loads(line[6:]) for line in events if line.startswith("data: {")]
    assert chunks[-1]["usage"] == {"prompt_tokens": 14, "completion_tokens": 8, "total_tokens": 22}
    assert (reply.decision.prompt_tokens, reply.decision.completion_tokens) == (14, 8)
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
