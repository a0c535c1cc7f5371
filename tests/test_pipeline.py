"""The life of a request behind the gateway: fallback before the first byte and never after, sessions, collections, the record."""

import asyncio
import itertools
import json
import random
import time

import pytest
import uvloop
from msgspec.structs import replace

from orchestrator.errors import (
    AllExpertsFailed,
    ContextTooLong,
    DeadlineExceeded,
    ExpertError,
    Forbidden,
    RateLimited,
    RequestError,
    UnknownModel,
)
from orchestrator.gateway.requests import make_query as read_query
from orchestrator.types import RequestOptions
from tests.support.bodies import Drawn, random_chat
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
        assert decision.attempts[0].outcome not in ("ok", "cancelled")
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
        assert (await recorded(service, query)).attempts[-1].outcome == "cancelled"


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


def read(kind, **body):
    """The query that the gateway makes of a body."""
    return read_query(kind, body, received_at=time.monotonic(), timeout_s=10.0)


@pytest.mark.parametrize(
    ("model", "asked", "price"),
    [
        *itertools.product(["dear", "panel/both", "auto"], [{}], ["0.9999"]),
        *itertools.product(["dear", "panel/both", "auto"], [{"max_tokens": 2000}], ["0.02"]),
        *itertools.product(["dear", "auto"], [{"max_tokens": 900, "n": 2}], ["0.018"]),
    ],
)
async def test_a_cost_limit_holds_on_every_route(tmp_path, model, asked, price):
    """Finding 8 of the first review: direct calls, panels and collections ignored it, and so did n and no max_tokens."""
    dear = {"name": "dear", "backend": "echo", "price": {"output": 10.0}, "context": 100_000}
    async with service_of(tmp_path, dear, panels={"both": {"experts": ["dear"]}}) as service:
        frugal = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "switchyard": {"max_cost_usd": 0.01}}
        assert (await service.pipeline.answer(read("chat", **frugal, max_tokens=900))).decision.plan == ("dear",)
        with pytest.raises(RequestError, match=rf"within 0\.01 USD: dear would cost up to {price}"):
            await service.pipeline.answer(read("chat", **frugal, **asked))


async def test_a_cost_limit_is_for_a_panel_as_a_whole(tmp_path):
    experts = [{"name": name, "backend": "echo", "price": {"output": 10.0}} for name in ("a", "b")]
    async with service_of(tmp_path, *experts, panels={"both": {"experts": ["a", "b"]}}) as service:
        body = {"model": "panel/both", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 60}
        query = replace(make_query("chat", body), options=RequestOptions(max_cost_usd=0.001))
        assert (await service.pipeline.answer(query)).decision.plan == ("a",)


async def test_a_cost_limit_counts_every_input_of_a_collections_batch(tmp_path):
    dear = {"name": "dear", "backend": "echo", "kind": "embedding", "price": {"input": 100.0}}
    frugal = {"model": "auto", "switchyard": {"max_cost_usd": 0.005, "collection": "docs"}}
    async with service_of(tmp_path, dear) as service:
        one = await service.pipeline.answer(read("embedding", **frugal, input=["a cat sat on the mat"]))
        assert one.decision.expert == "dear"
        with pytest.raises(RequestError, match=r"within 0\.005 USD"):
            await service.pipeline.answer(read("embedding", **frugal, input=["a cat sat on the mat"] * 100))


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


async def test_another_conversation_with_the_same_opening_does_not_move_the_first(tmp_path):
    """Finding 10: the first turn of a second user moved the first user's tool loop."""
    experts = [{"name": name, "backend": "echo", "capabilities": ["tools", "streaming"]} for name in ("a", "b")]
    async with service_of(tmp_path, *experts) as service:
        await service.pipeline.answer(chat_query(session="s", options=RequestOptions(experts=("b",))))
        assert (await service.pipeline.answer(chat_query(session="s"))).decision.expert == "a"
        loop = await service.pipeline.answer(chat_query(session="s", continues=True, tool_loop=True))
        assert loop.decision.expert == "b"


async def test_a_persona_costs_what_its_base_does(tmp_path):
    """Finding 2: a persona over a priced expert was free."""
    dear = {"name": "dear", "backend": "echo", "price": {"input": 1000.0, "output": 1000.0}}
    persona = {"name": "poet", "backend": "persona", "base": "dear", "system": "You are a poet."}
    async with service_of(tmp_path, persona, dear) as service:
        reply = await service.pipeline.answer(chat_query("Hello", model="poet"))
        assert reply.decision.cost_usd > 0
        with pytest.raises(RequestError, match="poet would cost"):
            await service.pipeline.answer(chat_query(model="poet", options=RequestOptions(max_cost_usd=0.001)))


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


def embedding_experts(**fields):
    return [
        {"name": name, "backend": "echo", "kind": "embedding", **fields.get(name, {})} for name in ("first", "second")
    ]


def embed(collection=None, model="auto", kind="embedding", **changes):
    bodies = {"embedding": {"model": model, "input": "x"}, "rerank": {"model": model, "query": "x", "documents": ["x"]}}
    return make_query(kind, bodies[kind], "x", options=RequestOptions(collection=collection), **changes)


async def test_a_text_too_long_for_the_first_embedding_expert_is_refused_rather_than_embedded_by_another(tmp_path):
    """Finding 3: vectors of two models mixed by the length of the text."""
    async with service_of(tmp_path, ECHO, *embedding_experts(first={"context": 256})) as service:
        assert (await service.pipeline.answer(embed(max_tokens=0))).decision.expert == "first"
        with pytest.raises(ContextTooLong, match="first needs 300 tokens, has 256"):
            await service.pipeline.answer(embed(prompt_tokens=300, max_tokens=0))
        scoped = embed(prompt_tokens=300, max_tokens=0, caller=caller("second"))
        assert (await service.pipeline.answer(scoped)).decision.expert == "second"


async def test_a_dry_run_creates_no_collection_and_neither_does_a_failure(tmp_path, upstream):
    """Finding 4: POST /v1/route pinned it, and so did a request that nobody answered."""
    experts = [openai_expert("down", upstream.base_url, "401", kind="embedding"), embedding_experts()[0]]
    async with service_of(tmp_path, *experts) as service:
        assert (await service.pipeline.route(embed("docs"))).expert == "down"
        with pytest.raises(AllExpertsFailed):
            await service.pipeline.answer(embed("docs"))
        assert await service.ledger.collection("anonymous", "embedding", "docs") is None
        narrowed = replace(embed(), options=RequestOptions(collection="docs", experts=("first",)))
        await service.pipeline.answer(narrowed)
        assert await service.ledger.collection("anonymous", "embedding", "docs") == "first"


async def test_embeddings_and_rerankings_have_collections_of_their_own(tmp_path):
    experts = [{"name": "judge", "backend": "echo", "kind": "rerank"}, *embedding_experts()]
    async with service_of(tmp_path, *experts) as service:
        assert (await service.pipeline.answer(embed("docs"))).decision.expert == "first"
        assert (await service.pipeline.answer(embed("docs", kind="rerank"))).decision.expert == "judge"


async def test_requests_that_create_a_collection_at_once_get_vectors_of_one_expert(tmp_path, upstream):
    slow = [openai_expert(name, upstream.base_url, kind="embedding") for name in ("first", "second")]
    async with service_of(tmp_path, *slow) as service:
        queries = [
            replace(embed(id=f"sw-{name}-{i}"), options=RequestOptions(collection="docs", experts=experts))
            for i, (name, experts) in enumerate([("a", ("first", "second")), ("b", ("second", "first"))] * 5)
        ]
        only = [replace(embed(id="sw-only"), options=RequestOptions(collection="docs", experts=("second",)))]
        replies = await asyncio.gather(*(service.pipeline.answer(q) for q in only + queries), return_exceptions=True)
        owner = await service.ledger.collection("anonymous", "embedding", "docs")
        answered = [reply.decision.expert for reply in replies if not isinstance(reply, RequestError)]
        assert set(answered) == {owner}
        assert all(status.leases == 0 for status in service.scheduler.status())


async def test_a_direct_call_cannot_put_another_models_vectors_into_a_collection(tmp_path):
    async with service_of(tmp_path, *embedding_experts()) as service:
        await service.pipeline.answer(embed("docs", model="second"))
        assert (await service.pipeline.answer(embed("docs", id="sw-2"))).decision.expert == "second"
        with pytest.raises(RequestError, match="belongs to second, which 'first' does not stand for"):
            await service.pipeline.answer(embed("docs", model="first"))


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
            assert {a.expert for a in decision.attempts if a.purpose == "answer"} == {"calculator", "echo"}
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
        with pytest.raises(RequestError, match="one prompt at a time"):
            await service.pipeline.answer(make_query("completion", {"model": "panel/one", "prompt": ["a", "b"]}))
        with pytest.raises(RequestError, match="a panel answers in words"):
            await service.pipeline.answer(make_query("embedding", {"model": "panel/one", "input": "a"}))


async def test_a_panel_costs_what_its_members_used_and_says_who_is_missing(tmp_path, upstream):
    good = openai_expert("good", upstream.base_url, price={"input": 1.0, "output": 1.0})
    experts = [good, {**good, "name": "twin"}, openai_expert("bad", upstream.base_url, "html")]
    panels = {"jury": {"experts": ["good", "twin", "bad"], "aggregator": "vote"}}
    async with service_of(tmp_path, *experts, panels=panels) as service:
        query = chat_query(model="panel/jury")
        reply = await service.pipeline.answer(query)
        usage = json.loads(reply.body)["usage"]
        decision = await recorded(service, query)
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (14, 2 * upstream.num_chunks)
    assert (decision.prompt_tokens, decision.completion_tokens) == (14, 2 * upstream.num_chunks)
    assert "rests on good, twin; without bad (" in decision.reason


async def test_a_panel_passes_on_what_the_client_must_mend(tmp_path, upstream):
    strict = [openai_expert(name, upstream.base_url, "422") for name in ("a", "b")]
    async with service_of(tmp_path, *strict, panels={"both": {"experts": ["a", "b"]}}) as service:
        with pytest.raises(RequestError, match="scripted failure") as caught:
            await service.pipeline.answer(chat_query(model="panel/both"))
        assert caught.value.status == 422


@pytest.mark.parametrize(
    ("field", "needs"), [({"tools": [{"type": "function"}]}, "tools"), ({"logprobs": True}, "logprobs")]
)
async def test_a_panel_refuses_what_several_answers_cannot_have(tmp_path, field, needs):
    able = {**ECHO, "capabilities": ["tools", "logprobs"]}
    async with service_of(tmp_path, able, panels={"one": {"experts": ["echo"]}}) as service:
        query = chat_query(model="panel/one", needs=frozenset({needs}))
        query = replace(query, body={**query.body, **field})
        for ask in (service.pipeline.answer, service.pipeline.route):
            with pytest.raises(RequestError, match="a panel's answer is made of several") as caught:
                await ask(query)
            assert caught.value.param == needs


async def test_a_key_limits_panels_too(tmp_path):
    panels = {"both": {"experts": ["echo", "other"], "aggregator": "vote"}}
    async with service_of(tmp_path, ECHO, {"name": "other", "backend": "echo"}, panels=panels) as service:
        with pytest.raises(Forbidden, match="panel/both"):
            await service.pipeline.answer(chat_query(model="panel/both", caller=caller(policies=frozenset({"auto"}))))
        mine = caller("echo", policies=frozenset({"panel/both"}))
        reply = await service.pipeline.answer(chat_query("Hello", model="panel/both", caller=mine))
        assert [attempt.expert for attempt in reply.decision.attempts] == ["echo", "panel/both"]
        assert (await service.pipeline.route(chat_query(model="panel/both", caller=mine))).plan == ("echo",)


async def test_exploration_is_recorded_with_its_propensity(tmp_path):
    experts = [{"name": name, "backend": "echo"} for name in ("a", "b")]
    policies = {"auto": {"router": "same", "explore": 0.5, "near_tie": 0.1}}
    async with service_of(tmp_path, *experts, policies=policies, routers={"same": {"type": "cheapest"}}) as service:
        decisions = [(await service.pipeline.answer(chat_query())).decision for _ in range(200)]
    chosen = {name: [d.propensity for d in decisions if d.expert == name] for name in ("a", "b")}
    assert set(chosen["a"]) == {0.75}
    assert set(chosen["b"]) == {0.25}
    assert all(d.propensities == {"a": 0.75, "b": 0.25} for d in decisions)
    assert 20 <= len(chosen["b"]) <= 90


async def test_under_load_nobody_is_bound_to_an_expert_that_its_policy_would_not_choose(tmp_path, upstream):
    """The burst is bound before anybody knows how fast the answers are; some fail, and streams and whole ones mix."""
    upstream.delay_s = 0.01
    limits = {"a": 1, "b": 1, "c": 2}
    experts = [openai_expert(name, upstream.base_url, limits={"concurrency": n}) for name, n in limits.items()]
    policies = {"auto": {"explore": 0.5, "near_tie": 0.5}}
    async with service_of(tmp_path, *experts, policies=policies) as service:

        async def ask(i):
            query = chat_query(stream=i % 2 == 0, options=RequestOptions(mu=(0.0, 0.5, 5.0)[i % 3]))
            reply = await service.pipeline.answer(query)
            await text_of(reply)
            return reply.decision

        upstream.script.extend((["ok"] * 20 + ["500"]) * 5)
        decisions = await asyncio.gather(*map(ask, range(150)))
    assert {d.expert for d in decisions} == {"a", "b", "c"}
    assert any(max(d.waits_s.values()) > 0 for d in decisions)
    assert all(0 < d.propensity <= 1 for d in decisions)


async def test_routing_alone_calls_nobody_and_records_nothing(tmp_path, upstream):
    async with service_of(tmp_path, openai_expert("a", upstream.base_url), ECHO) as service:
        query = chat_query()
        decision = await service.pipeline.route(query)
        assert (decision.expert, decision.plan) == ("a", ("a", "echo"))
        assert not upstream.requests
        assert await recorded(service, query) is None


FLEET = [
    {"name": "tiny", "backend": "echo", "context": 256},
    {"name": "tools", "backend": "echo", "context": 2048, "capabilities": ["streaming", "tools"]},
    {"name": "strict", "backend": "echo", "parameters": {"reject": ["seed"]}, "capabilities": ["streaming", "tools"]},
    {"name": "eyes", "backend": "echo", "context": 8192, "capabilities": ["vision", "json_schema"]},
    {"name": "declines", "backend": "function", "callable": "tests.support.callables:decline", "context": 30_000},
    {"name": "talker", "backend": "persona", "base": "tiny", "system": "Talk. " * 20, "capabilities": ["tools"]},
    {"name": "clerk", "backend": "persona", "base": "strict", "system": "Be strict.", "context": 4000},
    {"name": "painter", "backend": "persona", "base": "eyes", "system": "Look closely. " * 100},
]
RAW = {spec["name"]: spec for spec in FLEET}


def assert_fits(expert: str, asked: Drawn, system: str = "") -> None:
    """By what stands in FLEET: a persona's request must fit its base too, with the persona's own prompt."""
    raw = RAW[expert]
    if "base" in raw:
        assert_fits(raw["base"], asked, raw["system"])
    if "base" not in raw or "capabilities" in raw:
        assert asked.needs <= set(raw.get("capabilities", ["streaming"])), expert
    assert asked.least_tokens + len(system.split()) <= raw.get("context", 10**6), expert
    assert not [name for name in raw.get("parameters", {}).get("reject", ()) if name in asked.body], expert


async def fuzz(service, num_queries: int, seed: int) -> set[str]:
    """Whatever is asked, only experts that fit are asked, as a fallback either. Returns who was asked."""
    dice = random.Random(seed)
    seen: set[str] = set()
    for _ in range(num_queries):
        drawn = random_chat(dice)
        query = read("chat", **drawn.body)
        try:
            reply = await service.pipeline.answer(query)
        except (RequestError, AllExpertsFailed):
            pass
        else:
            await reply.aclose()
        for attempt in (await recorded(service, query)).attempts:
            assert_fits(attempt.expert, drawn)
            assert attempt.outcome == ("cancelled" if query.stream else "ok") or attempt.expert == "declines"
            seen.add(attempt.expert)
    return seen


async def test_no_infeasible_dispatch(tmp_path):
    async with service_of(tmp_path, *FLEET, routers={"default": {"type": "random"}}) as service:
        assert await fuzz(service, 2_000, seed=0) == set(RAW)


@pytest.mark.slow
async def test_no_infeasible_dispatch_in_a_hundred_thousand_requests(tmp_path):
    async with service_of(tmp_path, *FLEET, routers={"default": {"type": "random"}}) as service:
        await fuzz(service, 100_000, seed=1)
