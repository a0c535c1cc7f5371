"""The scheduler as others use it: futures, launches, stops and time, over an engine without processes."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from functools import partial
from itertools import count

import pytest
from msgspec import structs

from orchestrator.errors import ConfigError, ExpertError, NoCapacity, RateLimited
from orchestrator.experts.base import ServerCommand
from orchestrator.scheduler.base import Place
from tests.support import schedulers
from tests.support.engine import FakeEngine
from tests.support.launching import Fixed
from tests.support.pagecache import drop, until_cached
from tests.support.places import OK, ask, local, remote
from tests.support.schedulers import state

scheduling = partial(schedulers.scheduling, "local")


async def test_a_free_expert_is_leased_without_giving_up_the_event_loop():
    async with scheduling(remote("a")) as (scheduler, _):
        acquiring = scheduler.acquire(ask("a"))
        with pytest.raises(StopIteration) as stopped:
            acquiring.send(None)
        assert stopped.value.value.expert == "a"


async def test_what_is_decided_for_a_request_that_is_refused_is_done():
    """A load that its request had paid for was begun with the next request, or never."""
    places, clock = (local("a", 60, keep_alive_s=0.0), remote("b", rpm=1)), [0.0]
    async with scheduling(*places, engine=FakeEngine(hold=False), clock=lambda: clock[0]) as (scheduler, engine):
        scheduler.release(await scheduler.acquire(ask("a")), structs.replace(OK, ok=False, retry_after_s=500.0))
        scheduler.release(await scheduler.acquire(ask("b")), OK)
        await engine.launches[0].result.result().exited
        clock[0] = 1.0
        with pytest.raises(RateLimited):
            await scheduler.acquire(ask("a", "b", mu=0.01, step=0.5, deadline=10.0))
        await asyncio.wait_for(engine.launched("a", times=2), 5)


async def test_two_who_are_cancelled_at_once_lose_no_lease():
    """A lease that was granted to one of them goes to the next, who is cancelled too."""
    async with scheduling(remote("a", concurrency=1)) as (scheduler, _):
        lease = await scheduler.acquire(ask("a"))
        waiting = [asyncio.create_task(scheduler.acquire(ask("a", request_id=f"r{i}"))) for i in range(2)]
        await asyncio.sleep(0)
        for task in reversed(waiting):
            task.cancel()
        scheduler.release(lease, OK)
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
        assert scheduler.status()[0].leases == 0


async def test_a_configuration_error_at_launch_tells_clients_nothing_of_this_machine():
    def command() -> ServerCommand:
        raise ConfigError("weights.gguf is not there yet: /home/me/weights.gguf")

    async with scheduling(local("a", 60, command=command)) as (scheduler, _):
        with pytest.raises(ExpertError) as caught:
            await scheduler.acquire(ask("a"))
        assert "/home/me" not in caught.value.message
        assert scheduler.status()[0].last_error == "weights.gguf is not there yet: /home/me/weights.gguf"


async def test_a_bug_in_a_backend_leaves_nobody_waiting():
    async with scheduling(local("a", 60), remote("b")) as (scheduler, engine):
        waiting = asyncio.create_task(scheduler.acquire(ask("a", "b")))
        (await engine.launched("a")).fail(ZeroDivisionError())
        assert (await waiting).expert == "b"


async def test_a_load_waits_for_memory_to_be_seen_free():
    seen = iter([10, 50, 60])
    async with scheduling(local("a", 60), engine=FakeEngine(available_bytes=lambda: next(seen))) as (scheduler, engine):
        warming = asyncio.create_task(scheduler.warm("a"))
        (await engine.launched("a")).succeed()
        await warming
        assert next(seen, None) is None


async def test_a_load_that_this_machine_has_no_memory_for_fails_clearly():
    engine = FakeEngine(available_bytes=lambda: 1_000_000_000)
    clock = count(step=10.0).__next__  # ten seconds pass between any two looks at it
    async with scheduling(local("a", 3_000_000_000), engine=engine, budget=4_000_000_000, clock=clock) as (
        scheduler,
        _,
    ):
        with pytest.raises(ExpertError, match=r"needs 3\.0 GB of memory; 1\.0 GB are free"):
            await scheduler.acquire(ask("a"))


async def test_weights_are_read_while_their_host_waits_for_memory(tmp_path):
    weights = tmp_path / "b.gguf"
    weights.write_bytes(os.urandom(1 << 22))
    if not drop(weights):
        pytest.skip("this file system keeps what it is told to forget")
    command = Fixed(ServerCommand(argv=("serve", "b"), files=(weights,)))
    async with scheduling(local("a", 60), local("b", 60, command=command)) as (scheduler, engine):
        waiting = asyncio.create_task(scheduler.acquire(ask("a")))
        (await engine.launched("a")).succeed()
        lease = await waiting
        behind = asyncio.create_task(scheduler.warm("b"))
        assert await asyncio.to_thread(until_cached, [weights])
        assert len(engine.launches) == 1
        behind.cancel()
        scheduler.release(lease, OK)


async def test_weights_are_read_again_for_who_waits_again(tmp_path):
    weights = tmp_path / "b.gguf"
    weights.write_bytes(os.urandom(1 << 22))
    command = Fixed(ServerCommand(argv=("serve", "b"), files=(weights,)))
    async with scheduling(local("a", 60), local("b", 60, command=command)) as (scheduler, engine):
        waiting = asyncio.create_task(scheduler.acquire(ask("a")))
        (await engine.launched("a")).succeed()
        lease = await waiting
        for _ in range(2):
            if not drop(weights):
                pytest.skip("this file system keeps what it is told to forget")
            behind = asyncio.create_task(scheduler.warm("b"))
            assert await asyncio.to_thread(until_cached, [weights])
            behind.cancel()
            await asyncio.wait({behind})
        scheduler.release(lease, OK)


async def test_closing_does_not_wait_for_weights_to_be_read(tmp_path):
    slow = tmp_path / "b.gguf"
    os.mkfifo(slow)  # who opens it waits for somebody who writes
    command = Fixed(ServerCommand(argv=("serve", "b"), files=(slow,)))
    async with scheduling(local("a", 60), local("b", 60, command=command)) as (scheduler, engine):
        waiting = asyncio.create_task(scheduler.acquire(ask("a")))
        (await engine.launched("a")).succeed().finish()
        lease = await waiting
        behind = asyncio.create_task(scheduler.warm("b"))
        await asyncio.sleep(0)
        behind.cancel()
        scheduler.release(lease, OK)
        try:
            await asyncio.wait_for(scheduler.close(), 5)
        finally:
            os.close(os.open(slow, os.O_RDWR))


async def test_a_bug_in_a_command_is_not_met_by_who_is_served(caplog):
    def broken() -> ServerCommand:
        raise ZeroDivisionError

    async with scheduling(local("a", 60), local("b", 60, command=broken)) as (scheduler, engine):
        waiting = asyncio.create_task(scheduler.acquire(ask("a")))
        (await engine.launched("a")).succeed().finish()
        lease = await waiting
        behind = asyncio.create_task(scheduler.warm("b"))
        await asyncio.sleep(0)
        assert not behind.done()
        scheduler.release(lease, OK)
        with pytest.raises(ExpertError, match="can't be launched"):
            await behind


async def test_memory_of_a_device_is_not_looked_for_in_the_hosts():
    gpu = replace(local("a", 60), on_device=True)
    async with scheduling(gpu, engine=FakeEngine(available_bytes=lambda: 0)) as (scheduler, engine):
        warming = asyncio.create_task(scheduler.warm("a"))
        (await asyncio.wait_for(engine.launched("a"), 5)).succeed(memory_bytes=90)  # of the host's
        await warming
        assert scheduler.status()[0].memory_bytes == 60


async def test_memory_that_can_not_be_measured_is_taken_for_what_is_declared(caplog):
    async with scheduling(local("a", 60)) as (scheduler, engine):
        waiting = asyncio.create_task(scheduler.acquire(ask("a")))
        (await engine.launched("a")).succeed().memory_error = OSError(24, "Too many open files")
        scheduler.release(await asyncio.wait_for(waiting, 5), OK)
        assert scheduler.memory().used_bytes == 60
        assert "the memory of a can't be measured" in caplog.text


async def test_memory_that_is_not_known_is_not_waited_for():
    async with scheduling(local("a", None), engine=FakeEngine(available_bytes=lambda: 0)) as (scheduler, engine):
        warming = asyncio.create_task(scheduler.warm("a"))
        (await engine.launched("a")).succeed()
        await warming


async def test_weights_that_nothing_can_launch_are_a_clear_error():
    async with scheduling(Place("a", "a", holds_weights=True, memory_bytes=10)) as (scheduler, _):
        with pytest.raises(ExpertError, match="has no launch command"):
            await scheduler.acquire(ask("a"))


async def test_an_idle_server_is_stopped_before_the_next_is_launched():
    async with scheduling(local("a", 60), local("b", 60)) as (scheduler, engine):
        warming = asyncio.create_task(scheduler.warm("a"))
        server = (await engine.launched("a")).succeed()
        await warming
        warming = asyncio.create_task(scheduler.warm("b"))
        await server.stopping.wait()
        assert [launch.name for launch in engine.launches] == ["a"]
        server.finish()
        (await engine.launched("b")).succeed()
        await warming


async def test_a_server_whose_end_fails_holds_nobody_up(caplog):
    async with scheduling(local("a", 60), local("b", 60)) as (scheduler, engine):
        warming = asyncio.create_task(scheduler.warm("a"))
        (await engine.launched("a")).succeed().stop_error = PermissionError()
        await warming
        warming = asyncio.create_task(scheduler.warm("b"))
        (await asyncio.wait_for(engine.launched("b"), 5)).succeed()
        await warming
        assert state(scheduler, "a") == "cold"
        assert "the server of a may not have ended" in caplog.text


async def test_keep_alive_unloads_by_itself():
    async with scheduling(local("a", 60, keep_alive_s=0.02)) as (scheduler, engine):
        warming = asyncio.create_task(scheduler.warm("a"))
        server = (await engine.launched("a")).succeed()
        await warming
        await asyncio.wait_for(server.stopping.wait(), 5)


async def test_another_launch_command_relaunches_and_the_same_one_does_not():
    def serve(option: str):
        return Fixed(ServerCommand(argv=("serve", option)))

    async with scheduling(local("a", 40, command=serve("1")), local("b", 40, command=serve("1"))) as (
        scheduler,
        engine,
    ):
        for name in "ab":
            warming = asyncio.create_task(scheduler.warm(name))
            (await engine.launched(name)).succeed().finish()
            await warming
        await scheduler.reconfigure([local("a", 40, command=serve("2")), local("b", 40, command=serve("1"))], 100)
        warming = asyncio.create_task(scheduler.warm("a"))
        launch = await engine.launched("a", times=2)
        assert launch.command.argv == ("serve", "2")
        launch.succeed()
        await warming
        assert state(scheduler, "b") == "ready"


async def test_closing_stops_servers_breaks_launches_off_and_refuses():
    async with scheduling(local("a", 40), local("b", 40)) as (scheduler, engine):
        warming = asyncio.create_task(scheduler.warm("a"))
        server = (await engine.launched("a")).succeed()
        await warming
        waiting = asyncio.create_task(scheduler.acquire(ask("b")))
        launch = await engine.launched("b")
        closing = asyncio.create_task(scheduler.close())
        await server.stopping.wait()
        assert not closing.done()
        server.finish()
        await closing
        assert launch.result.cancelled()
        with pytest.raises(NoCapacity):
            await waiting
        with pytest.raises(NoCapacity):
            await scheduler.acquire(ask("a"))
