import asyncio
import threading

import numpy as np
import pytest

from orchestrator.errors import DeadlineExceeded, NoCapacity
from orchestrator.routing.scoring import MAX_BATCH, Scorer, Sessions
from routers.base import ExpertCard, Outcome
from routers.families.baselines import FixedRouter, RandomRouter


class SlowRouter:
    """Encodes, as far as the scorer can tell: waits in its thread for `go`, and scores a text by its length."""

    experts_ = ("a", "b")
    needs_encoder = True

    def __init__(self, *, held=False):
        self.batches = []
        self.threads = set()
        self.began = threading.Event()
        self.go = threading.Event()
        if not held:
            self.go.set()

    def predict(self, queries):
        self.batches.append(list(queries))
        self.threads.add(threading.current_thread())
        self.began.set()
        assert self.go.wait(5)
        if "bad" in queries:
            raise ValueError("a bad text")
        return np.array([[len(query), 0.5] for query in queries], dtype=np.float32)


async def held_scorer(**settings):
    """A scorer whose router is busy with the text `first`, and the task that waits for it."""
    router = SlowRouter(held=True)
    scorer = Scorer(router, **settings)
    first = asyncio.create_task(scorer.scores("first"))
    assert await asyncio.to_thread(router.began.wait, 5)
    return router, scorer, first


async def asking(scorer, *texts):
    tasks = [asyncio.create_task(scorer.scores(text)) for text in texts]
    await asyncio.sleep(0)
    return tasks


async def test_scores_are_by_expert():
    scorer = Scorer(SlowRouter())
    assert await scorer.scores("hello") == {"a": 5.0, "b": 0.5}
    await scorer.close()


async def test_a_router_that_encodes_runs_in_one_thread_of_its_own():
    scorer = Scorer(router := SlowRouter())
    await asyncio.gather(*(scorer.scores(str(i)) for i in range(100)))
    await scorer.close()
    assert len(router.threads) == 1
    assert threading.current_thread() not in router.threads


async def test_nobody_waits_for_scores_longer_than_there_is_time():
    router, scorer, first = await held_scorer()
    with pytest.raises(DeadlineExceeded):
        await scorer.scores("second", timeout_s=0.01)
    router.go.set()
    assert await first == {"a": 5.0, "b": 0.5}
    await scorer.close()
    assert router.batches == [["first"]]


async def test_other_routers_run_inline():
    scorer = Scorer(FixedRouter(experts=(ExpertCard("a"), ExpertCard("b"))).fit())
    coroutine = scorer.scores("anything")
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    assert done.value.value == {"a": 1.0, "b": 0.5}
    await scorer.close()


async def test_a_router_that_reads_texts_without_an_encoder_is_asked_for_each():
    router = RandomRouter(experts=(ExpertCard("a"), ExpertCard("b"))).fit()
    scorer = Scorer(router)
    for text in ("one", "another"):
        assert list((await scorer.scores(text)).values()) == router.predict([text])[0].tolist()
    await scorer.close()


async def test_what_queued_up_while_a_batch_ran_is_the_next_batch():
    router, scorer, first = await held_scorer()
    tasks = await asking(scorer, "xx", "yyy", "xx")
    router.go.set()
    assert [scores["a"] for scores in await asyncio.gather(first, *tasks)] == [5.0, 2.0, 3.0, 2.0]
    assert router.batches == [["first"], ["xx", "yyy"]]
    await scorer.close()


async def test_batches_are_capped_and_first_come_first_served():
    router, scorer, first = await held_scorer()
    texts = [f"text {i}" for i in range(MAX_BATCH + 3)]
    tasks = await asking(scorer, *texts)
    router.go.set()
    await asyncio.gather(first, *tasks)
    assert router.batches[1:] == [texts[:MAX_BATCH], texts[MAX_BATCH:]]
    await scorer.close()


async def test_an_error_reaches_everyone_in_its_batch_and_nobody_after():
    router, scorer, first = await held_scorer()
    tasks = await asking(scorer, "good", "bad")
    router.go.set()
    results = await asyncio.gather(first, *tasks, return_exceptions=True)
    assert results[0]["a"] == 5.0
    assert [str(error) for error in results[1:]] == ["a bad text"] * 2
    assert (await scorer.scores("good"))["a"] == 4.0
    await scorer.close()


async def test_cancelling_one_waiter_does_not_hurt_the_others():
    router, scorer, first = await held_scorer()
    cancelled, same, other = await asking(scorer, "text", "text", "gone")
    cancelled.cancel()
    other.cancel()
    first.cancel()
    router.go.set()
    assert (await same)["a"] == 4.0
    assert cancelled.cancelled()
    assert router.batches == [["first"], ["text"]]
    await scorer.close()


async def test_the_last_texts_are_remembered():
    scorer = Scorer(router := SlowRouter(), cache_size=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        await scorer.scores(text)
    assert router.batches == [["a"], ["b"], ["c"], ["b"]]
    await scorer.close()


class LearningRouter(SlowRouter):
    def update(self, queries, experts, rewards, propensities):
        self.batches.append(list(zip(queries, experts, rewards, propensities, strict=True)))


async def test_scores_from_before_a_lesson_are_forgotten_those_that_are_being_made_included():
    scorer = Scorer(router := LearningRouter(held=True))
    first = asyncio.create_task(scorer.scores("first"))
    assert await asyncio.to_thread(router.began.wait, 5)
    outcome = Outcome("first", {"a": 1.0, "b": 0.0, "unknown": 1.0}, propensity={"b": 0.5})
    lesson = asyncio.create_task(scorer.learn([outcome]))
    await asyncio.sleep(0)
    router.go.set()
    await asyncio.gather(first, lesson)
    await scorer.scores("first")
    assert router.batches == [["first"], [("first", "a", 1.0, 1.0), ("first", "b", 0.0, 0.5)], ["first"]]
    assert len(router.threads) == 1
    await scorer.close()
    await scorer.learn([outcome])
    assert len(router.batches) == 3


async def test_any_text_can_be_scored():
    scorer = Scorer(SlowRouter())
    assert (await scorer.scores("a lone \ud800 surrogate"))["b"] == 0.5
    await scorer.close()


async def test_closing_fails_those_who_wait_and_lets_the_running_batch_end():
    router, scorer, first = await held_scorer()
    (waiting,) = await asking(scorer, "waiting")
    closing = asyncio.create_task(scorer.close())
    await asyncio.sleep(0)
    router.go.set()
    await closing
    assert (await first)["a"] == 5.0
    with pytest.raises(NoCapacity):
        await waiting
    with pytest.raises(NoCapacity):
        await scorer.scores("too late")
    assert router.batches == [["first"]]


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_a_session_has_its_expert_per_key():
    sessions = Sessions()
    sessions.put("key-1", "s", "a")
    sessions.put("key-2", "s", "b")
    assert (sessions.get("key-1", "s"), sessions.get("key-2", "s"), sessions.get("key-1", "t")) == ("a", "b", None)


def test_a_session_is_forgotten_after_its_time_unless_it_goes_on():
    sessions = Sessions(ttl_s=10.0, clock=(clock := Clock()))
    sessions.put("k", "idle", "a")
    sessions.put("k", "busy", "a")
    clock.now += 6.0
    sessions.put("k", "busy", "b")
    clock.now += 6.0
    assert (sessions.get("k", "idle"), sessions.get("k", "busy")) == (None, "b")


def test_only_so_many_sessions_are_kept_the_latest_ones():
    sessions = Sessions(limit=2)
    for name in ("one", "two", "one", "three"):
        sessions.put("k", name, "a")
    assert [sessions.get("k", name) for name in ("one", "two", "three")] == ["a", None, "a"]
