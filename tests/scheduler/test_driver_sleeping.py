"""Sleep and wake as others see the scheduler: first over servers without processes, then over real ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.engines.local import LocalEngine
from orchestrator.errors import ExpertError
from orchestrator.scheduler.base import Place
from orchestrator.scheduler.driver import LocalScheduler
from tests.support.engine import FakeEngine, FakeServer
from tests.support.places import OK, ask, local
from tests.support.sleepers import notes, sleepy_launch

WRONG = ExpertError("a", "not_loaded", "its server woke up wrong")


def sleepy(name: str) -> Place:
    return local(name, 60, asleep_bytes=10)


@asynccontextmanager
async def over_fakes() -> AsyncIterator[tuple[LocalScheduler, FakeEngine, FakeServer]]:
    """A scheduler whose expert `a` sleeps, since `b` took its place; and the server of `a`."""
    engine = FakeEngine(hold=False)
    scheduler = LocalScheduler(
        [sleepy("a"), sleepy("b")], {"": engine}, budget_bytes=100, asleep_budget_bytes=40, clock=lambda: 0.0
    )
    await scheduler.warm("a")
    server = engine.launches[0].result.result()
    await scheduler.warm("b")
    try:
        yield scheduler, engine, server
    finally:
        server.may_change.set()
        await scheduler.close()


def states(scheduler: LocalScheduler) -> dict[str, str]:
    return {status.expert: status.state for status in scheduler.status()}


async def test_an_evicted_server_sleeps_and_is_woken_for_the_next_request() -> None:
    async with over_fakes() as (scheduler, engine, server):
        assert states(scheduler) == {"a": "asleep", "b": "ready"}
        lease = await scheduler.acquire(ask("a"))
        assert lease.endpoint is server.endpoint
        assert server.calls == ["sleep", "wake"]
        assert len(engine.launches) == 2
        scheduler.release(lease, OK)


async def test_what_wakes_up_wrong_is_ended_and_launched_anew_for_who_waits(caplog: pytest.LogCaptureFixture) -> None:
    async with over_fakes() as (scheduler, engine, server):
        server.change_error = WRONG
        lease = await scheduler.acquire(ask("a"))
        assert server.exited.done()
        assert "a: its server woke up wrong" in caplog.text
        assert lease.endpoint is engine.launches[2].result.result().endpoint
        assert [launch.name for launch in engine.launches] == ["a", "b", "a"]
        scheduler.release(lease, OK)


async def test_what_does_not_fall_asleep_is_ended_and_its_memory_given_away() -> None:
    async with over_fakes() as (scheduler, engine, _):
        awake = engine.launches[1].result.result()
        awake.change_error = ZeroDivisionError()
        await scheduler.warm("a")
        assert awake.exited.done()
        assert states(scheduler) == {"a": "ready", "b": "cold"}


async def test_memory_of_a_sleeper_that_can_not_be_measured_is_taken_for_what_is_declared() -> None:
    async with over_fakes() as (scheduler, engine, _):
        engine.launches[1].result.result().memory_error = OSError(24, "Too many open files")
        await asyncio.wait_for(scheduler.warm("a"), 5)
        assert states(scheduler) == {"a": "ready", "b": "asleep"}
        assert [status.asleep_bytes for status in scheduler.status()] == [0, 10]


async def test_what_wakes_up_wrong_and_can_not_be_ended_is_launched_anew_all_the_same() -> None:
    async with over_fakes() as (scheduler, engine, server):
        server.change_error, server.stop_error = WRONG, PermissionError()
        await asyncio.wait_for(scheduler.warm("a"), 5)
        assert [launch.name for launch in engine.launches] == ["a", "b", "a"]
        server.crash()
        await asyncio.sleep(0)
        assert states(scheduler)["a"] == "ready"


async def test_a_death_asleep_is_launched_anew_when_it_is_wanted() -> None:
    async with over_fakes() as (scheduler, engine, server):
        server.crash()
        await asyncio.sleep(0)
        assert states(scheduler)["a"] == "cold"
        await scheduler.warm("a")
        assert [launch.name for launch in engine.launches] == ["a", "b", "a"]


async def test_a_death_while_waking_is_not_told_twice() -> None:
    async with over_fakes() as (scheduler, engine, server):
        server.may_change.clear()
        server.called.clear()
        server.change_error = WRONG
        waking = asyncio.create_task(scheduler.warm("a"))
        await server.called.wait()
        server.crash()
        server.may_change.set()
        await waking
        assert states(scheduler)["a"] == "ready"
        assert [launch.name for launch in engine.launches] == ["a", "b", "a"]


async def test_a_launch_after_a_death_while_waking_can_still_be_broken_off() -> None:
    async with over_fakes() as (scheduler, engine, server):
        server.may_change.clear()
        server.called.clear()
        waking = asyncio.create_task(scheduler.warm("a"))
        await server.called.wait()
        engine.hold = True
        server.crash()
        launch = await engine.launched("a", times=2)
        server.may_change.set()
        await asyncio.sleep(0)  # for the wake to end, after the launch has begun
        waking.cancel()
        await scheduler.unload("a")
        assert launch.result.cancelled()


async def test_nobody_is_sent_to_a_server_that_died_as_it_woke_up() -> None:
    """Its wake was taken for the success of the launch that had begun after its death."""
    async with over_fakes() as (scheduler, engine, server):
        server.may_change.clear()
        server.called.clear()
        waking = asyncio.create_task(scheduler.acquire(ask("a")))
        await server.called.wait()
        engine.hold = True
        server.crash()
        server.may_change.set()
        launch = await engine.launched("a", times=2)
        await asyncio.sleep(0)
        assert states(scheduler)["a"] == "loading"
        launched = launch.succeed()
        launched.finish()
        lease = await waking
        assert lease.endpoint is launched.endpoint
        scheduler.release(lease, OK)


async def test_unloading_ends_a_server_that_sleeps() -> None:
    async with over_fakes() as (scheduler, _, server):
        await scheduler.unload("a")
        assert server.exited.done()
        assert states(scheduler) == {"a": "cold", "b": "ready"}


async def test_unloading_ends_a_server_that_is_waking_up() -> None:
    async with over_fakes() as (scheduler, _, server):
        server.may_change.clear()
        server.called.clear()
        waking = asyncio.create_task(scheduler.warm("a"))
        await server.called.wait()
        waking.cancel()
        await scheduler.unload("a")
        assert server.exited.done()
        assert states(scheduler)["a"] == "cold"


async def test_closing_ends_those_that_sleep_too() -> None:
    async with over_fakes() as (_, _, server):
        pass
    assert server.exited.done()


MB = 1 << 20


@asynccontextmanager
async def over_processes(folder: Path, *, fault: str = "") -> AsyncIterator[LocalScheduler]:
    """Two experts with memory for one of them awake and both asleep. fault: of the first one's server."""
    places = []
    for name, its_fault in (("a", fault), ("b", "")):
        (folder / name).mkdir()
        launch = sleepy_launch(folder / name, fault=its_fault, level=2)
        places.append(local(name, 150 * MB, asleep_bytes=50 * MB, command=launch))
    engine = LocalEngine(stop_grace_s=2)
    scheduler = LocalScheduler(places, {"": engine}, budget_bytes=200 * MB, asleep_budget_bytes=100 * MB)
    try:
        yield scheduler
    finally:
        await scheduler.close()
        await engine.close()


async def test_two_servers_take_turns_without_being_launched_again(tmp_path: Path) -> None:
    async with over_processes(tmp_path) as scheduler:
        for name in "abab":
            await scheduler.warm(name)
        assert states(scheduler) == {"a": "asleep", "b": "ready"}
    reloaded = ["/wake_up?tags=weights", "/collective_rpc reload_weights", "/wake_up?tags=kv_cache"]
    assert [note for note in notes(tmp_path / "a") if note in reloaded] == reloaded
    assert notes(tmp_path / "b").count("/v1/completions") == 2  # one launch, one wake


@pytest.mark.parametrize("fault", ["wakes_wrong", "dies_waking", "refuses_sleep"])
async def test_whatever_goes_wrong_the_next_request_is_served_by_a_server_that_is_well(
    tmp_path: Path, fault: str
) -> None:
    async with over_processes(tmp_path, fault=fault) as scheduler:
        for name in "aba":
            await scheduler.warm(name)
        assert states(scheduler) == {"a": "ready", "b": "asleep"}
        await scheduler.warm("b")  # and the faulty one is not put to sleep again
        assert states(scheduler) == {"a": "cold", "b": "ready"}
    assert sum("/sleep" in note for note in notes(tmp_path / "a")) == 1
