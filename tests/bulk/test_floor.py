"""Jobs on the floor: they stand still without a task, are run again when it is their turn, and end together."""

import asyncio

import pytest

from orchestrator.bulk.floor import Floor, Job, PutOff
from orchestrator.bulk.waves import Memory, Seen


def floor_of(budget_bytes=1, **sizes):
    return Floor(lambda: Seen({host: Memory(False, size) for host, size in sizes.items()}, budget_bytes))


def asks(floor, host, log):
    async def run(job):
        async with floor.seat(job, host, holds_weights=True):
            log.append(host)

    return Job(run=run)


async def test_queries_are_grouped_by_expert_whatever_their_order():
    floor, log = floor_of(a=1, b=1, c=1), []
    await floor.work([asks(floor, host, log) for host in "abcabcabcaab"])
    assert "".join(log) in {"aaaaabbbbccc", "aaaaacccbbbb"}


async def test_a_job_is_run_again_from_its_start_and_must_remember_what_it_was_told():
    floor, runs, told = floor_of(a=1, b=1), [], set()

    async def run(job):
        runs.append(job)
        for host in "ab":
            if host not in told:
                async with floor.seat(job, host, holds_weights=True):
                    told.add(host)

    await floor.work([Job(asks=frozenset("ab"), run=run)])
    assert told == {"a", "b"}
    assert len(runs) == 3


async def test_members_are_asked_side_by_side_and_the_rest_is_called_off_with_them():
    floor, log = floor_of(a=1, b=1), []

    async def ask(job, host):
        async with floor.seat(job, host, holds_weights=True):
            log.append(host)

    async def run(job):
        """Whoever answers first is enough."""
        tasks = [asyncio.create_task(ask(job, host)) for host in "ab"]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        async with floor.seat(job, "c", holds_weights=False):
            log.append("c")

    await floor.work([Job(asks=frozenset("abc"), run=run)])
    assert log in (["a", "c"], ["b", "c"])


async def test_what_is_cancelled_leaves_the_floor_to_the_others():
    floor, log = floor_of(a=1, b=1), []
    entered, never = asyncio.Event(), asyncio.Event()

    async def hang(job):
        async with floor.seat(job, "a", holds_weights=True):
            entered.set()
            await never.wait()

    hanging = asyncio.create_task(floor.work([Job(run=hang), asks(floor, "b", log)]))
    await entered.wait()
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    assert log == []
    await floor.work([asks(floor, "b", log)])
    assert log == ["b"]


async def test_a_failure_ends_the_work_and_is_raised():
    floor, log = floor_of(a=1, b=1), []

    async def fail(job):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        await floor.work([asks(floor, "a", log), Job(run=fail), asks(floor, "b", log)])
    await floor.work([asks(floor, "b", log)])
    assert log[-1] == "b"


async def test_nothing_to_do_is_done():
    await floor_of().work([])


async def test_those_who_work_at_the_same_time_share_the_order_of_experts():
    floor, log = floor_of(a=1, b=1), []
    await asyncio.gather(*(floor.work([asks(floor, host, log) for host in "abab"]) for _ in range(2)))
    assert "".join(log) in {"aaaabbbb", "bbbbaaaa"}


async def test_a_job_that_is_put_off_is_run_again_and_keeps_nobody_from_memory():
    floor, log = floor_of(a=1, b=1), []

    async def run(job):
        async with floor.seat(job, "a", holds_weights=True):
            log.append("a")
            if log.count("a") < 3:
                raise PutOff("a", 0.01)

    await floor.work([Job(run=run), asks(floor, "b", log)])
    assert sorted(log) == ["a", "a", "a", "b"]


async def test_those_that_are_put_off_go_on_when_they_are_recalled_and_end_when_they_are_cancelled():
    floor, log, gone = floor_of(a=1), [], asyncio.Event()

    def job(host):
        async def run(job):
            async with floor.seat(job, host, holds_weights=True):
                log.append(host)
                if log.count(host) < 2:
                    gone.set()
                    raise PutOff(host, 3600.0)

        return Job(run=run)

    work = asyncio.create_task(floor.work([job("a")]))
    await gone.wait()
    await asyncio.sleep(0)
    floor.recall("a")
    await work
    assert log == ["a", "a"]
    gone.clear()
    work = asyncio.create_task(floor.work([job("b")]))
    await gone.wait()
    await asyncio.sleep(0)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    floor.recall("b")
    assert log == ["a", "a", "b"]
