"""Experts that rate themselves before one of them answers."""

import pytest

from orchestrator.errors import ConfigError
from tests.support.confident import confident
from tests.support.queries import chat_query, make_query
from tests.support.service import openai_expert, service_of, text_of
from tests.support.upstream import running_upstream

CAPABLE = ["streaming", "logprobs"]
SELF = {"routers": {"self": {"type": "self_select"}}, "policies": {"auto": {"router": "self"}}}


@pytest.fixture
async def unfit():
    async with running_upstream() as upstream:
        upstream.usual = confident("unfit", yes=0.2)
        yield upstream


@pytest.fixture
async def fit():
    async with running_upstream() as upstream:
        upstream.usual = confident("fit", yes=0.8)
        yield upstream


def fleet(tmp_path, unfit, fit, *others, **sections):
    price = {"input": 1.0, "output": 1.0}
    experts = [
        openai_expert("unfit", unfit.base_url, capabilities=CAPABLE, price=price),
        openai_expert("fit", fit.base_url, capabilities=CAPABLE, price=price),
    ]
    return service_of(tmp_path, *experts, *others, **{**SELF, **sections})


async def test_whoever_rates_itself_best_answers(tmp_path, unfit, fit):
    async with fleet(tmp_path, unfit, fit) as service:
        query = chat_query("Capital of France?")
        reply = await service.pipeline.answer(query)
        assert await text_of(reply) == "fit"
        decision = await service.ledger.decision(query.id)
    assert decision.scores == pytest.approx({"unfit": 0.2, "fit": 0.8}, abs=1e-3)
    assert decision.assessments == {"unfit": {"yes": pytest.approx(0.2)}, "fit": {"yes": pytest.approx(0.8)}}
    assert sorted((a.expert, a.purpose) for a in decision.attempts) == [
        ("fit", "answer"),
        ("fit", "assessment"),
        ("unfit", "assessment"),
    ]
    assert decision.cost_usd == pytest.approx(sum(a.cost_usd for a in decision.attempts))
    assert all(a.cost_usd > 0 for a in decision.attempts)
    asked = unfit.requests[0].body
    assert asked["messages"][0]["content"].startswith("Capital of France?")
    assert (asked["max_tokens"], asked["logprobs"]) == (1, True)


async def test_only_who_can_serve_and_tell_is_asked(tmp_path, unfit, fit):
    mute = {"name": "mute", "backend": "echo"}
    narrow = openai_expert("narrow", unfit.base_url, capabilities=CAPABLE, context=8)
    async with fleet(tmp_path, unfit, fit, mute, narrow) as service:
        decision = await service.pipeline.route(chat_query("Hi"))
    assert set(decision.assessments) == {"unfit", "fit"}
    assert decision.scores["mute"] == 0.0
    assert "narrow" in decision.infeasible


async def test_an_expert_that_fails_its_assessment_comes_last(tmp_path, unfit, fit):
    fit.script.append("500")
    async with fleet(tmp_path, unfit, fit) as service:
        reply = await service.pipeline.answer(chat_query("Capital of France?"))
        assert await text_of(reply) == "unfit"
    assert reply.decision.scores["fit"] == 0.0
    assert ("fit", "server_error") in [(a.expert, a.outcome) for a in reply.decision.attempts]


async def test_assessments_leave_half_of_the_time_for_the_answer(tmp_path, unfit, fit):
    async def hang_when_asked(exchange):
        if exchange.body.get("max_tokens") == 1:
            await exchange.upstream.gone.wait()
        return await confident("unfit")(exchange)

    unfit.usual = fit.usual = hang_when_asked
    async with fleet(tmp_path, unfit, fit) as service:
        query = chat_query("Capital of France?")
        quick = chat_query("Capital of France?", deadline=query.received_at + 2.0)
        assert await text_of(await service.pipeline.answer(quick)) == "unfit"


async def test_assessments_overlap_and_are_no_overhead(tmp_path, unfit, fit):
    unfit.delay_s = fit.delay_s = 1.0
    async with fleet(tmp_path, unfit, fit) as service:
        reply = await service.pipeline.answer(chat_query("Capital of France?"))
    assert reply.decision.overhead_ms < 900
    assert reply.decision.duration_ms < 2900


async def test_embeddings_are_not_asked_about(tmp_path, unfit, fit):
    hashed = {"name": "hashed", "kind": "embedding", "backend": "echo"}
    async with fleet(tmp_path, unfit, fit, hashed) as service:
        decision = await service.pipeline.route(make_query("embedding", {"model": "auto", "input": "text"}, "text"))
    assert (decision.expert, decision.assessments) == ("hashed", {})


async def test_a_router_that_asks_experts_can_be_no_shadow(tmp_path, unfit, fit):
    policies = {"auto": {"shadow": "self"}}
    with pytest.raises(ConfigError, match=r"policies.auto.shadow: 'self' asks experts"):
        async with fleet(tmp_path, unfit, fit, policies=policies):
            pass
