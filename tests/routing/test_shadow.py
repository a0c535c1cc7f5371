"""A shadow router's scores come with the record, and change nothing else."""

import asyncio

import pytest

from tests.support.artifacts import trained
from tests.support.queries import chat_query, make_query
from tests.support.service import service_of, text_of

A, B = ({"name": name, "backend": "echo"} for name in ("a", "b"))
SHADOWED = {"auto": {"shadow": "support"}}


@pytest.fixture
def routers(tmp_path):
    trained(tmp_path / "support", good_at_sums="b", good_at_chat="a")
    return {"support": {"artifact": "support"}}


async def recorded(service, query):
    async with asyncio.timeout(10):
        while (decision := await service.ledger.decision(query.id)) is None:  # noqa: ASYNC110  a record gives no event
            await asyncio.sleep(0.01)
        return decision


async def test_its_scores_are_recorded_and_do_not_choose(tmp_path, routers):
    async with service_of(tmp_path, A, B, routers=routers, policies=SHADOWED) as service:
        query = chat_query("What is 5 + 11?")
        assert await text_of(await service.pipeline.answer(query)) == "What is 5 + 11?"
        decision = await recorded(service, query)
        assert (decision.expert, decision.router, decision.artifact) == ("a", "default", None)
        assert decision.shadow.router == "support"
        assert decision.shadow.artifact == service.fleet.scorers["support", "chat"].artifact
        assert decision.shadow.scores["b"] > 0.6 > decision.shadow.scores["a"]


async def test_it_is_in_the_ledger_when_the_service_ends_at_once(tmp_path, routers):
    query = chat_query("What is 5 + 11?")
    async with service_of(tmp_path, A, B, routers=routers, policies=SHADOWED) as service:
        await service.pipeline.answer(query)
    async with service_of(tmp_path, A, B, routers=routers, policies=SHADOWED) as service:
        assert (await recorded(service, query)).expert == "a"


@pytest.mark.parametrize(
    "make",
    [lambda: chat_query(model="a"), lambda: make_query("embedding", {"model": "auto", "input": "x"}, "x")],
    ids=["called by name", "embedding"],
)
async def test_where_no_router_is_asked_none_shadows(tmp_path, routers, make):
    vectors = {"name": "v", "backend": "echo", "kind": "embedding"}
    async with service_of(tmp_path, A, B, vectors, routers=routers, policies=SHADOWED) as service:
        query = make()
        await service.pipeline.answer(query)
        assert (await recorded(service, query)).shadow is None


async def test_a_shadow_that_fails_is_told_in_the_log_and_nothing_else(tmp_path, routers, caplog):
    async with service_of(tmp_path, A, B, routers=routers, policies=SHADOWED) as service:
        await service.fleet.scorers["support", "chat"].close()
        query = chat_query("What is 5 + 11?")
        assert await text_of(await service.pipeline.answer(query))
        decision = await recorded(service, query)
        assert (decision.status, decision.shadow) == (200, None)
        assert "the shadow router support has no scores" in caplog.text
