"""What reads the files of a batch in a thread has ended before they are closed."""

import asyncio
import threading

import pytest

from orchestrator.bulk.run import in_whole_thread


async def test_a_thread_is_waited_for_when_it_is_not_wanted_any_more():
    began, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def read():
        began.set()
        go_on.wait(10)
        ended.set()

    task = asyncio.create_task(in_whole_thread(read))
    await asyncio.to_thread(began.wait, 10)
    task.cancel()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_what_a_thread_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        await in_whole_thread(lambda: 1 // 0)
