"""The life of a request behind the gateway: fallback before the first byte and never after, sessions, collections, the record."""

import asyncio
import json
import random
from dataclasses import replace

import pytest
import uvloop

from orchestrator.errors import (
    AllExpertsFailed,
    ContextTooLong,
    DeadlineExceeded,
    ExpertError,
    ExpertRejected,
    Forbidden,
    RateLimited,
    RequestError,
    UnknownModel,
)
from orchestrator.types import RequestOptions
from tests.support.queries import caller, chat_query, make_query
from tests.support.service import openai_expert, service_of, text_of
from tests.support.upstream import running_upstream

ECHO = {"name": "echo", "backend": "echo"}
FAILURES = [
    "reset",
    "500",
    "503",
    "429",
    "html",
    "half-json",
    "empty",
    "wrong-types",
    "error-200",
    "401",
    "reset-mid-body",
]


@pytest.fixture
async def upstream():
    async with running_upstream() as upstream:
        yield upstream


async def recorded(service, query):
    return await service.ledger.decision(query.id)


async def test_the_best_feasible_expert_answers(tmp_path):
    async with service_of(tmp_path, ECHO, {"name": "other", "backend": "echo"}) as service:
        query = chat_query("Hello")
        reply = await service.pipeline.answer(query)
        assert await text_of(reply) == "Hello"
        assert reply.decision.expert == "echo"
        assert (await recorded(service, query)).plan == ("echo", "other")
        assert (await recorded(service, query)).status == 200


@pytest.mark.parametrize("behaviour", FAILURES)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failing_expert_is_taken_over_from(tmp_path, upstream, behaviour, stream):
    bad = openai_expert("bad", upstream.base_url, behaviour)
    async with service_of(tmp_path, bad, ECHO) as service:
        query = chat_query("Hello", stream=stream)
        assert await text_of(await service.pipeline.answer(query)) == "Hello"
        attempts = (await recorded(service, query)).attempts
        assert [a.expert for a in attempts] == ["bad", "echo"]
        assert attempts[0].outcome not in ("ok", "cancelled")


@pytest.mark.parametrize("behaviour", ["error-first", "no-chunks", "hang"])
async def test_a_stream_that_never_begins_is_taken_over_from(tmp_path, upstream, behaviour):
    bad = openai_expert("bad", upstream.base_url, behaviour, timeouts={"first_byte_s": 0.3})
    async with service_of(tmp_path, bad, ECHO) as service:
        reply = await service.pipeline.answer(chat_query("Hello", stream=True))
        assert await text_of(reply) == "Hello"


@pytest.mark.parametrize("behaviour", ["reset-mid-stream", "truncated", "error-later", "hang-mid-stream"])
async def test_nobody_takes_over_after_the_first_content_byte(tmp_path, upstream, behaviour):
    bad = openai_expert("bad", upstream.base_url, behaviour, timeouts={"idle_s": 0.3})
    async with service_of(tmp_path, bad, ECHO) as service:
        query = chat_query("Hello", stream=True)
        reply = await service.pipeline.answer(query)
        with pytest.raises(ExpertError):
            await text_of(reply)
        decision = await recorded(service, query)
        assert [a.expert for a in decision.attempts] == ["bad"]
        assert decision.status == 502


async def test_when_everybody_fails_the_error_names_them_and_no_address(tmp_path, upstream):
    experts = [openai_expert(name, upstream.base_url, "500") for name in ("a", "b")]
    async with service_of(tmp_path, *experts, policies={"auto": {"max_attempts": 2}}) as service:
        query = chat_query()
        with pytest.raises(AllExpertsFailed, match=r"a: server_error; b: server_error") as caught:
            await service.pipeline.answer(query)
        assert "127.0.0.1" not in caught.value.message
        assert (await recorded(service, query)).status == 502


async def test_a_lone_expert_is_tried_again_after_its_back_off(tmp_path, upstream):
    upstream.script.extend(["500", "ok"])
    async with service_of(tmp_path, openai_expert("only", upstream.base_url)) as service:
        reply = await service.pipeline.answer(chat_query(model="only"))
        assert [a.outcome for a in reply.decision.attempts] == ["server_error", "ok"]


def test_a_timer_that_fires_early_ends_no_back_off(tmp_path):
    """uvloop, which the gateway runs on, rounds times to milliseconds: about half of its timers are early."""

    async def attempts_of_eight_requests():
        async with running_upstream(usual="500") as upstream:
            experts = [openai_expert(f"only-{i}", upstream.base_url) for i in range(8)]
            async with service_of(tmp_path, *experts) as service:
                queries = [chat_query(model=expert["name"]) for expert in experts]
                await asyncio.gather(*map(service.pipeline.answer, queries), return_exceptions=True)
                return [len((await recorded(service, query)).attempts) for query in queries]

    assert uvloop.run(attempts_of_eight_requests()) == [4] * 8


async def test_rate_limits_everywhere_become_one_with_retry_after(tmp_path, upstream):
    async with service_of(tmp_path, openai_expert("a", upstream.base_url, "429")) as service:
        with pytest.raises(RateLimited) as caught:
            await service.pipeline.answer(replace(chat_query(), deadline=chat_query().received_at + 1))
        assert caught.value.retry_after_s == 7


async def test_what_the_client_must_mend_is_not_tried_elsewhere(tmp_path, upstream):
    async with service_of(tmp_path, openai_expert("strict", upstream.base_url, "422"), ECHO) as service:
        query = chat_query()
        with pytest.raises(RequestError, match="scripted failure") as caught:
            await service.pipeline.answer(query)
        assert caught.value.status == 422
        assert len((await recorded(service, query)).attempts) == 1


async def test_an_expert_whose_context_was_too_small_after_all_hands_on(tmp_path, upstream):
    async with service_of(tmp_path, openai_expert("small", upstream.base_url, "context-400"), ECHO) as service:
        reply = await service.pipeline.answer(chat_query("Hello"))
        assert reply.decision.expert == "echo"


async def test_the_deadline_holds_over_all_attempts(tmp_path, upstream):
    async with service_of(tmp_path, openai_expert("slow", upstream.base_url, "hang"), ECHO) as service:
        query = chat_query()
        with pytest.raises(DeadlineExceeded):
            await service.pipeline.answer(replace(query, deadline=query.received_at + 0.2))


async def test_a_client_that_leaves_cancels_the_expert(tmp_path, upstream):
    async with service_of(tmp_path, openai_expert("slow", upstream.base_url, "hang")) as service:
        query = chat_query()
        task = asyncio.create_task(service.pipeline.answer(query))
        await upstream.arrived.wait()
        task.cancel()
        await asyncio.wait_for(upstream.gone.wait(), 0.5)
        assert (await recorded(service, query)).status == 499
        assert service.scheduler.status()[0].leases == 0


async def test_closing_a_stream_cancels_the_expert_and_gives_the_lease_back(tmp_path, upstream):
    async with service_of(tmp_path, openai_expert("slow", upstream.base_url, "hang-mid-stream")) as service:
        query = chat_query(stream=True)
        reply = await service.pipeline.answer(query)
        await reply.aclose()
        await asyncio.wait_for(upstream.gone.wait(), 0.5)
        assert service.scheduler.status()[0].leases == 0
        assert (await recorded(service, query)).status == 499


async def test_cost_is_counted_at_the_experts_prices(tmp_path, upstream):
    expert = openai_expert("priced", upstream.base_url, price={"input": 2.0, "output": 10.0})
    async with service_of(tmp_path, expert) as service:
        for stream in (False, True):
            query = chat_query(stream=stream)
            await text_of(await service.pipeline.answer(query))
            decision = await recorded(service, query)
            assert (decision.prompt_tokens, decision.completion_tokens) == (7, upstream.num_chunks)
            assert decision.cost_usd == pytest.approx((7 * 2.0 + upstream.num_chunks * 10.0) / 1e6)


async def test_a_cost_limit_keeps_the_dear_ones_out(tmp_path):
    dear = {"name": "dear", "backend": "echo", "price": {"input": 1000.0, "output": 1000.0}}
    async with service_of(tmp_path, dear, ECHO) as service:
        query = chat_query(options=RequestOptions(max_cost_usd=0.001))
        reply = await service.pipeline.answer(query)
        assert reply.decision.expert == "echo"
        assert "would cost" in reply.decision.infeasible["dear"]
        with pytest.raises(RequestError, match=r"within 0\.001 USD"):
            await service.pipeline.answer(replace(query, options=RequestOptions(max_cost_usd=0.001, experts=("dear",))))


async def test_lambda_of_the_request_weighs_cost(tmp_path):
    dear = {"name": "dear", "backend": "echo", "price": {"input": 1000.0, "output": 1000.0}}
    async with service_of(tmp_path, dear, ECHO) as service:
        free = await service.pipeline.answer(chat_query(options=RequestOptions(lambda_=0.0)))
        frugal = await service.pipeline.answer(chat_query(options=RequestOptions(lambda_=5.0)))
        assert (free.decision.expert, frugal.decision.expert) == ("dear", "echo")


async def test_a_conversation_stays_and_a_tool_loop_stays_whatever_the_gain(tmp_path):
    experts = [{"name": name, "backend": "echo", "capabilities": ["tools", "streaming"]} for name in ("a", "b")]
    async with service_of(tmp_path, *experts) as service:
        only_b = RequestOptions(experts=("b",))
        await service.pipeline.answer(chat_query(session="s", options=only_b))
        loop = await service.pipeline.answer(chat_query(session="s", continues=True, tool_loop=True))
        assert loop.decision.expert == "b"
        same_opening = await service.pipeline.answer(chat_query(session="s"))
        assert same_opening.decision.expert == "a"
        elsewhere = await service.pipeline.answer(chat_query(session="another"))
        assert elsewhere.decision.expert == "a"


async def test_model_names_are_resolved_and_scoped(tmp_path):
    async with service_of(tmp_path, ECHO, policies={"cheap": {"lambda": 5}}) as service:
        with pytest.raises(UnknownModel, match="no-such"):
            await service.pipeline.answer(chat_query(model="no-such"))
        with pytest.raises(Forbidden, match="cheap"):
            await service.pipeline.answer(chat_query(model="cheap", caller=caller(policies=frozenset({"auto"}))))
        with pytest.raises(Forbidden):
            await service.pipeline.answer(chat_query(model="echo", caller=caller("other")))


async def test_a_direct_call_obeys_feasibility_too(tmp_path):
    async with service_of(tmp_path, {**ECHO, "context": 2048}) as service:
        with pytest.raises(ContextTooLong):
            await service.pipeline.answer(chat_query(model="echo", prompt_tokens=30_000))


async def test_embeddings_without_a_collection_always_have_the_same_expert(tmp_path):
    experts = [{"name": name, "backend": "echo", "kind": "embedding"} for name in ("first", "second")]
    async with service_of(tmp_path, *experts, routers={"default": {"type": "random"}}) as service:
        queries = [make_query("embedding", {"model": "auto", "input": f"text {i}"}, f"text {i}") for i in range(10)]
        assert {(await service.pipeline.answer(q)).decision.expert for q in queries} == {"first"}


async def test_a_collection_keeps_its_expert_over_a_restart_and_a_change_of_mind(tmp_path):
    experts = [{"name": name, "backend": "echo", "kind": "embedding"} for name in ("first", "second")]
    docs = make_query("embedding", {"model": "auto", "input": "x"}, "x", options=RequestOptions(collection="docs"))
    async with service_of(tmp_path, *experts, routers={"default": {"type": "fixed", "expert": "second"}}) as service:
        assert (await service.pipeline.answer(docs)).decision.expert == "second"
    async with service_of(tmp_path, *experts, routers={"default": {"type": "fixed", "expert": "first"}}) as service:
        assert (await service.pipeline.answer(replace(docs, id="sw-later"))).decision.expert == "second"
    async with service_of(tmp_path, experts[0]) as service:
        with pytest.raises(RequestError, match="collection 'docs' belongs to second"):
            await service.pipeline.answer(replace(docs, id="sw-gone"))


async def test_a_panel_answers_as_one_and_its_members_are_recorded(tmp_path):
    experts = [
        ECHO,
        {"name": "calculator", "backend": "function", "callable": "orchestrator.experts.calculator:answer"},
    ]
    panels = {"both": {"experts": ["calculator", "echo"], "aggregator": "vote"}}
    async with service_of(tmp_path, *experts, panels=panels) as service:
        for stream in (False, True):
            query = chat_query("What is 2 + 2?", model="panel/both", stream=stream)
            assert await text_of(await service.pipeline.answer(query)) == "4"
            decision = await recorded(service, query)
            assert decision.mode == "panel"
            assert {a.expert for a in decision.attempts} == {"calculator", "echo"}
        assert all(status.leases == 0 for status in service.scheduler.status())


async def test_when_nobody_is_left_but_an_expert_that_declines_the_client_hears_of_the_others(tmp_path):
    calculator = {"name": "calculator", "backend": "function", "callable": "orchestrator.experts.calculator:answer"}
    async with service_of(tmp_path, ECHO | {"context": 2048}, calculator) as service:
        with pytest.raises(ContextTooLong, match="echo needs 5020 tokens, has 2048; calculator declined"):
            await service.pipeline.answer(chat_query("Hello", prompt_tokens=5000))
        with pytest.raises(RequestError) as caught:
            await service.pipeline.answer(chat_query("Hello", model="calculator"))
    assert caught.value.code == "not_applicable"


async def test_a_panel_completes_a_text_and_embeds_none(tmp_path):
    async with service_of(tmp_path, ECHO, panels={"one": {"experts": ["echo"]}}) as service:
        reply = await service.pipeline.answer(make_query("completion", {"model": "panel/one", "prompt": "once upon"}))
        assert json.loads(reply.body)["choices"][0]["text"] == "once upon"
        with pytest.raises(ExpertRejected, match="one prompt at a time"):
            await service.pipeline.answer(make_query("completion", {"model": "panel/one", "prompt": ["a", "b"]}))
        with pytest.raises(RequestError, match="a panel answers in words"):
            await service.pipeline.answer(make_query("embedding", {"model": "panel/one", "input": "a"}))


async def test_exploration_is_recorded_with_its_propensity(tmp_path):
    experts = [{"name": name, "backend": "echo"} for name in ("a", "b")]
    policies = {"auto": {"router": "same", "explore": 0.5, "near_tie": 0.1}}
    async with service_of(tmp_path, *experts, policies=policies, routers={"same": {"type": "cheapest"}}) as service:
        decisions = [(await service.pipeline.answer(chat_query())).decision for _ in range(200)]
    chosen = {name: [d.propensity for d in decisions if d.expert == name] for name in ("a", "b")}
    assert set(chosen["a"]) == {0.75}
    assert set(chosen["b"]) == {0.25}
    assert 20 <= len(chosen["b"]) <= 90


async def test_routing_alone_calls_nobody_and_records_nothing(tmp_path, upstream):
    async with service_of(tmp_path, openai_expert("a", upstream.base_url), ECHO) as service:
        query = chat_query()
        decision = await service.pipeline.route(query)
        assert (decision.expert, decision.plan) == ("a", ("a", "echo"))
        assert not upstream.requests
        assert await recorded(service, query) is None


CAPABILITIES = ("tools", "vision", "json_schema", "logprobs")
FLEET = [
    {"name": "tiny", "backend": "echo", "context": 256},
    {"name": "tools", "backend": "echo", "context": 2048, "capabilities": ["streaming", "tools"]},
    {"name": "eyes", "backend": "echo", "context": 8192, "capabilities": ["vision", "json_schema"]},
    {"name": "declines", "backend": "function", "callable": "tests.support.callables:decline", "context": 30_000},
]


async def fuzz(service, num_queries: int, seed: int) -> None:
    """Whatever is asked, only experts that fit are asked, as a fallback either."""
    dice = random.Random(seed)
    specs = service.fleet.specs
    for i in range(num_queries):
        needs = frozenset(dice.sample(CAPABILITIES, dice.choice((0, 0, 1, 1, 2))))
        stream = dice.random() < 0.3
        query = chat_query(
            f"query {i}",
            stream=stream,
            id=f"sw-{seed}-{i}",
            needs=needs | ({"streaming"} if stream else set()),
            prompt_tokens=int(10 ** dice.uniform(0, 4.6)),
            max_tokens=dice.choice((1, 128, 2000)),
        )
        try:
            reply = await service.pipeline.answer(query)
        except (RequestError, AllExpertsFailed):
            pass
        else:
            await reply.aclose()
        for attempt in (await recorded(service, query)).attempts:
            spec = specs[attempt.expert]
            assert query.needs <= spec.capabilities
            assert query.prompt_tokens + query.max_tokens <= spec.context


async def test_no_infeasible_dispatch(tmp_path):
    async with service_of(tmp_path, *FLEET, routers={"default": {"type": "random"}}) as service:
        await fuzz(service, 2_000, seed=0)


@pytest.mark.slow
async def test_no_infeasible_dispatch_in_a_hundred_thousand_requests(tmp_path):
    async with service_of(tmp_path, *FLEET, routers={"default": {"type": "random"}}) as service:
        await fuzz(service, 100_000, seed=1)
