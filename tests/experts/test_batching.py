import asyncio
import threading
from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.experts.batching import Batcher


class Doubling:
    """A model that doubles, and waits for `go` when `held`. Remembers the batches it was given."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.started = threading.Event()
        self.go = threading.Event()
        if not held:
            self.go.set()

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.started.set()
        self.go.wait(10)
        return [2 * item for item in items]


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), max_size=9), max_size=6))
async def test_everyone_gets_the_results_of_their_own_items(requests: list[list[int]]) -> None:
    model = Doubling()
    batcher = Batcher(partial(asyncio.to_thread, model), max_items=4)
    results = await asyncio.gather(*(batcher.run(items) for items in requests))
    assert results == [[2 * item for item in items] for items in requests]
    assert all(0 < len(batch) <= 4 for batch in model.batches)


async def test_what_arrives_while_a_batch_runs_goes_into_the_next() -> None:
    model = Doubling(held=True)
    batcher = Batcher(partial(asyncio.to_thread, model), max_items=8)
    first = asyncio.create_task(batcher.run([1]))
    await asyncio.to_thread(model.started.wait, 10)
    rest = asyncio.gather(batcher.run([2]), batcher.run([3, 4]))
    await asyncio.sleep(0)
    model.go.set()
    assert await first == [2]
    assert await rest == [[4], [6, 8]]
    assert model.batches == [[1], [2, 3, 4]]


async def test_a_long_request_takes_turns_with_others() -> None:
    model = Doubling()
    batcher = Batcher(partial(asyncio.to_thread, model), max_items=2)
    await asyncio.gather(batcher.run([1, 1, 1, 1, 1, 1]), batcher.run([2]))
    assert [2] in model.batches[:2]


async def test_a_cancelled_request_takes_no_more_turns() -> None:
    model = Doubling(held=True)
    batcher = Batcher(partial(asyncio.to_thread, model), max_items=1)
    task = asyncio.create_task(batcher.run([1, 2, 3]))
    await asyncio.to_thread(model.started.wait, 10)
    task.cancel()
    model.go.set()
    assert await batcher.run([9]) == [18]
    assert model.batches == [[1], [9]]


async def test_a_batch_that_fails_costs_those_that_are_not_at_fault_nothing() -> None:
    calls: list[list[int]] = []

    async def fail_on_zero(items: Sequence[int]) -> list[int]:
        calls.append(list(items))
        if 0 in items:
            raise ValueError("zero")
        return list(items)

    batcher = Batcher(fail_on_zero, max_items=3)
    results = await asyncio.gather(*(batcher.run([i]) for i in (1, 0, 3, 4)), return_exceptions=True)
    assert isinstance(results[1], ValueError)
    assert [results[0], *results[2:]] == [[1], [3], [4]]
    assert calls == [[1, 0, 3], [1], [0], [3], [4]]
    with pytest.raises(ValueError, match="zero"):
        await batcher.run([0])


async def test_who_left_while_a_batch_failed_is_not_asked_again() -> None:
    calls: list[list[int]] = []
    leaving: asyncio.Task[list[int]]

    async def fail_together(items: Sequence[int]) -> list[int]:
        calls.append(list(items))
        if len(items) > 1:
            leaving.cancel()
            await asyncio.sleep(0)
            raise ValueError("too many")
        return list(items)

    batcher = Batcher(fail_together, max_items=3)
    leaving = asyncio.create_task(batcher.run([1]))
    staying = [asyncio.create_task(batcher.run([i])) for i in (2, 3)]
    assert await asyncio.gather(*staying) == [[2], [3]]
    assert calls == [[1, 2, 3], [2], [3]]
