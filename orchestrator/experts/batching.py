"""Groups what concurrent requests ask of one model, so that it is called with many items instead of many times.

    batcher = Batcher(encode, max_items=32)       # async def encode(texts): return await asyncio.to_thread(model.encode, texts)
    vectors = await batcher.run(["one text", "another"])

While one batch is computed, what arrives is collected for the next: no timer, so nobody waits who needn't. A batch that fails is
computed again request by request, so that only those fail that are at fault. Not here: the order of items inside a batch (models
sort by length themselves).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Piece(Generic[Item, Result]):
    items: Sequence[Item]
    results: asyncio.Future[Sequence[Result]]


class Batcher(Generic[Item, Result]):
    """compute: items -> as many results; one call at a time, with at most `max_items`."""

    def __init__(self, compute: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]], *, max_items: int) -> None:
        self._compute = compute
        self._max_items = max_items
        self._waiting: deque[_Piece[Item, Result]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def run(self, items: Sequence[Item]) -> list[Result]:
        """One result per item. A long request takes its turn piece by piece; cancelled, it takes no more of them."""
        results: list[Result] = []
        for start in range(0, len(items), self._max_items):
            results += await self._queue(items[start : start + self._max_items])
        return results

    async def _queue(self, items: Sequence[Item]) -> Sequence[Result]:
        piece: _Piece[Item, Result] = _Piece(items, asyncio.get_running_loop().create_future())
        self._waiting.append(piece)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await piece.results

    async def _work(self) -> None:
        while self._waiting:
            await self._answer(self._take())

    async def _answer(self, batch: Sequence[_Piece[Item, Result]]) -> None:
        items = [item for piece in batch for item in piece.items]
        try:
            results = await self._compute(items) if items else []
        except Exception as exc:  # noqa: BLE001 - whatever the model raises belongs to those who asked
            await self._answer_each(batch, exc)
            return
        for piece in batch:
            own, results = results[: len(piece.items)], results[len(piece.items) :]
            if not piece.results.done():
                piece.results.set_result(own)

    async def _answer_each(self, batch: Sequence[_Piece[Item, Result]], error: Exception) -> None:
        """Those of a batch that has failed, one by one."""
        for piece in batch:
            if piece.results.done():
                continue
            if len(batch) > 1:
                await self._answer([piece])
            else:
                piece.results.set_exception(error)

    def _take(self) -> list[_Piece[Item, Result]]:
        """The next pieces that fit one batch, at least one; those nobody waits for any more are left out."""
        batch: list[_Piece[Item, Result]] = []
        room = self._max_items
        while self._waiting and (not batch or len(self._waiting[0].items) <= room):
            piece = self._waiting.popleft()
            if not piece.results.done():
                batch.append(piece)
                room -= len(piece.items)
        return batch
