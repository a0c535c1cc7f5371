"""Sending streams, noticing clients that leave, and telling those that wait where they stand.

    with ClientWatch(request):                    # cancels this task within 100 ms of the client's leaving
        with Hold(request, query):                # after 2 s: headers, then `: position 2, about 4 s` comments
            reply = await pipeline.answer(query)
        await send_events(request, query, reply.decision, reply.events)

A request that is answered at once pays for two timers and nothing else. The shapes of events are in `surface.py`.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from types import TracebackType

from orchestrator.gateway.http import ClientGone, Header, Request
from orchestrator.gateway.surface import EventStream
from orchestrator.scheduler.base import Position
from orchestrator.types import Decision, Query

WATCH_AFTER_S = 0.1


class ClientWatch:
    """Cancels what runs inside it when the client leaves, and raises `ClientGone` then.

    Watching costs a task, so it begins after `WATCH_AFTER_S`: most answers without a model behind them are out by then.
    """

    def __init__(self, request: Request) -> None:
        self._receive = request.receive
        self._watcher: asyncio.Task[None] | None = None
        self._gone = False

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._start)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self._gone and exc_type is asyncio.CancelledError:
            assert self._task is not None
            self._task.uncancel()
            raise ClientGone from exc

    def _start(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        assert self._task is not None
        self._task.cancel()


class Hold:
    """Keeps a streaming request that waits informed; one that doesn't stream waits in silence.

    Leaving it never suspends: between the pipeline's reply and its use, nobody may be cancelled.
    """

    def __init__(self, request: Request, query: Query) -> None:
        self._request = request
        self._query = query
        self._timer: asyncio.TimerHandle | None = None
        self._informer: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        if self._query.stream:
            self._timer = asyncio.get_running_loop().call_later(self._request.context.hold_s, self._start)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._informer is not None:
            self._informer.cancel()
            self._request.on_note(None)

    def _start(self) -> None:
        self._informer = asyncio.get_running_loop().create_task(self._inform())

    async def _inform(self) -> None:
        context, news = self._request.context, asyncio.Event()
        self._request.on_note(news.set)
        await self._request.start_stream(((b"x-switchyard-decision-id", self._query.id.encode()),))
        while True:
            news.clear()
            told = progress(self._request, self._query)
            await self._request.send_block(told or comment(context.scheduler.position(self._query.id)))
            with suppress(TimeoutError):
                async with asyncio.timeout(context.comment_s):  # wait_for may swallow the cancellation
                    await news.wait()


def progress(request: Request, query: Query) -> bytes:
    """What was noted since the last time, as the client wants to hear it; empty when nothing was."""
    notes, request.notes = request.notes, []
    return b"".join(request.surface.progress(query, note) for note in notes)


def comment(position: Position | None) -> bytes:
    """An SSE comment, which every client skips."""
    if position is None:
        return b": waiting for the first word\n\n"
    return b": position %d, about %.0f s\n\n" % (position.ahead + 1, position.estimate_s)


async def send_events(request: Request, query: Query, decision: Decision, events: EventStream) -> None:
    """Send a stream but for its end (`Request.send_block(b"", more=False)`); the expert is aborted when this is cancelled."""
    async with aclosing(events), aclosing(request.surface.events(query, decision, events)) as blocks:
        notice = request.surface.notice(query, decision) if request.started or query.options.explain else b""
        if query.options.progress == "reasoning":
            notice += progress(request, query)
        async for block in blocks:
            if not request.started:
                await request.start_stream(decision_headers(decision))
            await request.send_block(notice + block)
            notice = b""
        if not request.started:
            await request.start_stream(decision_headers(decision))


def decision_headers(decision: Decision) -> tuple[Header, ...]:
    return (
        (b"x-switchyard-decision-id", decision.id.encode()),
        (b"x-switchyard-expert", (decision.expert or "").encode()),
        (b"x-switchyard-policy", decision.policy.encode()),
        (b"x-switchyard-overhead-ms", b"%.3f" % decision.overhead_ms),
        (b"x-switchyard-wait-ms", b"%.3f" % decision.wait_ms),
    )
