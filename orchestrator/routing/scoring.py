"""Routers in serving: scores per request without blocking the event loop, and which expert has which conversation.

    scorer = Scorer(router)
    await scorer.scores("What is 2 + 2?")           # {'smollm2': 0.5, 'calculator': 0.97}
    sessions.put("key-1", "session-1", "smollm2")
    sessions.get("key-1", "session-1")              # 'smollm2'

A router that encodes texts runs in a thread of its own, on all texts that queued up while it was busy: nobody waits for a
batch to fill. Other routers run inline. Not here: what follows from scores (`routers/policy.py`, `planning.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from orchestrator.errors import DeadlineExceeded, NoCapacity
from routers.artifact import Artifact
from routers.base import OnlineRouter, Outcome, Router
from routers.families.baselines import ConstantRouter
from routers.families.self_select import SIGNALS, SelfSelectRouter

MAX_BATCH = 32

Scores = Mapping[str, float]


class Scorer:
    """A fitted router, asked one text at a time. Routers are deterministic, so the scores of the last texts are kept.

    trained: the artifact that the router is from. experts: whose scores are wanted, by default all. learned_to: how far in the
    ledger an online router has learned (`learning.py`).
    """

    def __init__(
        self,
        router: Router,
        *,
        trained: Artifact | None = None,
        experts: Collection[str] | None = None,
        cache_size: int = 4096,
    ) -> None:
        self._router = router
        self._columns = [(i, name) for i, name in enumerate(router.experts_) if experts is None or name in experts]
        self._constant = self._predict([""])[0] if isinstance(router, ConstantRouter) else None
        self.artifact = None if trained is None else trained.fingerprint
        self.costs = None if trained is None else trained.costs
        self._cache_size = cache_size
        self._cache: OrderedDict[bytes, Scores] = OrderedDict()
        self._waiting: dict[str, list[asyncio.Future[Scores]]] = {}
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="router")
        self._closed = False
        self.learned_to = 0

    @property
    def learns(self) -> bool:
        """Whether the router takes rewards while it serves."""
        return isinstance(self._router, OnlineRouter)

    @property
    def asks_experts(self) -> bool:
        """Whether the router has experts assess a query: its scores are `assessed` then."""
        return isinstance(self._router, SelfSelectRouter)

    def assessed(self, assessments: Mapping[str, Mapping[str, float]]) -> Scores:
        """Expected reward by expert, by what each found out of `SIGNALS`. For a router that asks experts."""
        assert isinstance(self._router, SelfSelectRouter)
        known = [assessments.get(name, {}) for name in self._router.experts_]
        found = np.array([[[signals.get(name, np.nan) for name in SIGNALS] for signals in known]], dtype=np.float32)
        rewards = self._router.predict_assessed(found)[0].tolist()
        return {name: rewards[i] for i, name in self._columns}

    async def scores(self, text: str, timeout_s: float | None = None) -> Scores:
        """Expected reward by expert. Raises what the router raises, and `NoCapacity` once the scorer is closed.

        timeout_s: how long to wait for a thread's answer, `DeadlineExceeded` then.
        """
        if self._constant is not None:
            return self._constant
        if not self._router.needs_encoder:
            return self._predict([text])[0]
        key = _key(text)
        if (known := self._cache.get(key)) is not None:
            self._cache.move_to_end(key)
            return known
        if self._closed:
            raise NoCapacity("the router is shutting down")
        answer: asyncio.Future[Scores] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(text, []).append(answer)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError as exc:
            raise DeadlineExceeded("the router had no scores before the request's deadline") from exc

    async def learn(self, outcomes: Sequence[Outcome]) -> None:
        """Give an online router its rewards, in its thread between two batches; scores from before are forgotten."""
        assert isinstance(self._router, OnlineRouter)
        lessons = [
            (outcome.query, expert, reward, outcome.propensity.get(expert, 1.0))
            for outcome in outcomes
            for expert, reward in outcome.rewards.items()
            if expert in self._router.experts_
        ]
        if lessons and not self._closed:
            update = partial(self._router.update, *zip(*lessons, strict=True))
            await asyncio.get_running_loop().run_in_executor(self._thread, update)
            self._cache.clear()

    async def close(self) -> None:
        """Fail those that still wait, and let a batch that runs end."""
        self._closed = True
        for answers in self._waiting.values():
            _settle(answers, NoCapacity("the router is shutting down"))
        self._waiting.clear()
        if self._worker is not None:
            await self._worker
        self._thread.shutdown()

    async def _work(self) -> None:
        """Batch after batch until nobody waits."""
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            try:
                scores = await loop.run_in_executor(self._thread, self._predict, list(batch))
            except Exception as exc:  # noqa: BLE001  whatever it is, it is the answer of everyone in the batch
                for answers in batch.values():
                    _settle(answers, exc)
            else:
                for (text, answers), answer in zip(batch.items(), scores, strict=True):
                    self._remember(text, answer)
                    _settle(answers, answer)
        self._worker = None

    def _next_batch(self) -> dict[str, list[asyncio.Future[Scores]]]:
        """Up to `MAX_BATCH` texts that somebody still waits for, oldest first."""
        batch: dict[str, list[asyncio.Future[Scores]]] = {}
        while self._waiting and len(batch) < MAX_BATCH:
            text = next(iter(self._waiting))
            answers = [answer for answer in self._waiting.pop(text) if not answer.done()]
            if answers:
                batch[text] = answers
        return batch

    def _predict(self, texts: list[str]) -> list[Scores]:
        rows = self._router.predict(texts).tolist()
        return [{name: row[i] for i, name in self._columns} for _, row in zip(texts, rows, strict=True)]

    def _remember(self, text: str, scores: Scores) -> None:
        self._cache[_key(text)] = scores
        if len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)


class Sessions:
    """Which expert has which conversation, by key and session: at most `limit`, each for `ttl_s` after it was last put."""

    def __init__(
        self, *, limit: int = 20_000, ttl_s: float = 3600.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._ttl_s = ttl_s
        self._clock = clock
        self._experts: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    def get(self, key_id: str, session: str) -> str | None:
        expert, put_at = self._experts.get((key_id, session), (None, 0.0))
        return expert if self._clock() - put_at < self._ttl_s else None

    def put(self, key_id: str, session: str, expert: str) -> None:
        """Remember `expert`, and forget what is too old or too much."""
        now = self._clock()
        self._experts[key_id, session] = expert, now
        self._experts.move_to_end((key_id, session))
        while len(self._experts) > self._limit or now - next(iter(self._experts.values()))[1] >= self._ttl_s:
            self._experts.popitem(last=False)


def _key(text: str) -> bytes:
    """What a text is cached by, so that long ones aren't kept."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _settle(answers: list[asyncio.Future[Scores]], result: Scores | Exception) -> None:
    """Answer those that still wait; a cancelled one is nobody's business any more."""
    for answer in answers:
        if not answer.done():
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)
