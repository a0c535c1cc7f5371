"""Feedback reaches a router that learns online: while it serves, after a restart, and after a reload."""

import asyncio

import httpx
import pytest

from orchestrator.gateway.app import create_app
from orchestrator.ledger.base import Rewarded
from orchestrator.routing.learning import BATCH, Learner
from orchestrator.routing.scoring import Scorer
from orchestrator.service import running
from orchestrator.types import Feedback
from routers.artifact import Artifact, save_artifact
from routers.base import ExpertCard, Outcome
from routers.encoders import HashedEncoder
from routers.families.bandit import BanditRouter
from routers.families.baselines import FixedRouter
from tests.support.gateway import served
from tests.support.queries import chat_query
from tests.support.service import write_config

TEXT = "What is 2 + 2?"
OUTCOMES = [Outcome(f"What is {a} + {b}?", {"a": 0.6, "b": 0.5}) for a in range(5) for b in range(5)]


def config(folder, **parameters):
    """Two experts, and a bandit that slightly prefers `a`."""
    router = BanditRouter(encoder=HashedEncoder(64), prior_rows=10, **parameters).fit(OUTCOMES)
    save_artifact(folder / "bandit", router, card="# for a test")
    experts = [{"name": name, "backend": "echo"} for name in ("a", "b")]
    return write_config(folder, *experts, routers={"default": {"artifact": "bandit"}})


async def scores(service):
    return (await service.pipeline.route(chat_query(TEXT))).scores


async def until(condition):
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110  routers give no event
            await asyncio.sleep(0.01)


async def rejected(service):
    """An answer of `a` that gets the score 0, and the router's scores once it has learned from it."""
    before = await scores(service)
    reply = await service.pipeline.answer(chat_query(TEXT))
    assert reply.decision.expert == "a"
    await service.ledger.feedback(Feedback(reply.decision.id, score=0.0))
    service.learner.wake()

    async def has_learned():
        return await scores(service) != before

    await until(has_learned)
    return await scores(service)


async def test_thumbs_down_over_http_move_the_scores_of_a_text_that_was_scored_before(tmp_path):
    async with running(config(tmp_path)) as service, served(create_app(service.gateway_context())) as url:
        before = await scores(service)
        async with httpx.AsyncClient(base_url=url) as client:
            body = {"model": "auto", "messages": [{"role": "user", "content": TEXT}]}
            for _ in range(3):
                answer = await client.post("/v1/chat/completions", json=body)
                given = {"decision_id": answer.headers["x-switchyard-decision-id"], "thumbs": "down", "expert": "a"}
                assert (await client.post("/v1/feedback", json=given)).status_code == 200

        async def has_changed_its_mind():
            now = await scores(service)
            return now["a"] < now["b"]

        await until(has_changed_its_mind)
        assert (await scores(service))["b"] == before["b"]
        assert (await service.pipeline.answer(chat_query(TEXT))).decision.expert == "b"


async def test_what_was_learned_is_there_after_a_restart_and_after_a_reload(tmp_path):
    async with running(config(tmp_path)) as service:
        learned = await rejected(service)
        await service.reload()
        assert service.reload_error is None
        assert await scores(service) == learned
    async with running(tmp_path / "experts.yaml") as service:
        assert await scores(service) == learned


async def test_what_one_gateway_is_told_another_on_the_same_ledger_learns(tmp_path):
    path = config(tmp_path)
    async with running(path) as told, running(path) as other:
        after = await rejected(told)

        async def has_learned():
            return await scores(other) == after

        await until(has_learned)


async def test_another_artifact_learns_from_its_own_decisions_alone(tmp_path):
    async with running(config(tmp_path)) as service:
        await rejected(service)
    async with running(config(tmp_path, penalty=29.0)) as service:
        afresh = await scores(service)
    async with running(config(tmp_path / "elsewhere", penalty=29.0)) as service:
        assert await scores(service) == afresh


async def test_a_router_that_does_not_learn_is_left_alone():
    scorer = Scorer(FixedRouter(experts=(ExpertCard("a"), ExpertCard("b"))).fit())
    assert not scorer.learns
    await scorer.close()


class Pages:
    """A ledger that has so many scored decisions of the artifact `ours`, and as many of another."""

    def __init__(self, count):
        self.rewards = [
            Rewarded(number, artifact, Outcome(TEXT, {"a": 0.5, "gone": 1.0}))
            for number, artifact in enumerate(("ours", "theirs") * count, start=1)
        ]

    async def rewarded(self, after=0):
        for rewarded in self.rewards[after:]:
            yield rewarded


class Pupil(FixedRouter):
    """Learns nothing, and remembers what it was told."""

    def __init__(self, *, refuses=0):
        super().__init__(experts=(ExpertCard("a"), ExpertCard("b")))
        self.refuses = refuses
        self.calls = []

    def update(self, queries, experts, rewards, propensities):
        self.calls.append((experts, rewards, propensities))
        if len(self.calls) <= self.refuses:
            raise ValueError("no more lessons")


class OneRouter:
    """A fleet, as far as the learner can tell."""

    def __init__(self, pupil):
        self.scorer = Scorer(pupil.fit(), trained=Artifact(pupil, None, "ours", {}))
        self.scorers = {("default", "chat"): self.scorer, ("default", "completion"): self.scorer}


async def test_every_reward_of_its_experts_is_learned_once_and_in_batches():
    pupil = Pupil()
    fleet, learner = OneRouter(pupil), Learner(Pages(BATCH + 1), fleet=lambda: None)
    await learner.catch_up(fleet)
    await learner.catch_up(fleet)
    assert [len(experts) for experts, *_ in pupil.calls] == [BATCH, 1]
    assert pupil.calls[1] == (("a",), (0.5,), (1.0,))
    await fleet.scorer.close()


@pytest.mark.parametrize("refuses", [1, 2])
async def test_what_can_not_be_learned_is_told_in_the_log_and_holds_up_nothing(refuses, caplog):
    pupil, pages = Pupil(refuses=refuses), Pages(1)
    fleet, learner = OneRouter(pupil), Learner(pages, fleet=lambda: None)
    for count in range(1, refuses + 2):
        pages.rewards = Pages(count).rewards
        await learner.catch_up(fleet)
    assert len(pupil.calls) == refuses + 1
    assert caplog.text.count("the router of artifact ours could not learn") == refuses
    await fleet.scorer.close()
