"""What every scheduler keeps to, on this machine and over a connection."""

from __future__ import annotations

import asyncio
import time

import pytest

from orchestrator.errors import ConfigError, DeadlineExceeded, ExpertError, NoCapacity, RateLimited, UnknownModel
from orchestrator.experts.base import ServerCommand
from tests.support.engine import FakeEngine
from tests.support.places import FAILED, OK, ask, local, persona, remote
from tests.support.schedulers import KINDS, scheduling, settled, state, status, until

pytestmark = pytest.mark.parametrize("kind", KINDS)


async def test_a_free_expert_is_leased(kind):
    async with scheduling(kind, remote("a")) as (scheduler, _):
        lease = await scheduler.acquire(ask("a", request_id="r1"))
        assert (lease.expert, lease.endpoint) == ("a", None)
        assert lease.weighed.waits_s == {"a": 0.0}
        await settled(kind, lambda: status(scheduler, "a").leases == 1)
        scheduler.release(lease, OK)
        await settled(kind, lambda: status(scheduler, "a").leases == 0)


async def test_a_lease_is_given_back_once(kind):
    async with scheduling(kind, remote("a")) as (scheduler, _):
        lease = await scheduler.acquire(ask("a"))
        scheduler.release(lease, OK)
        with pytest.raises(ValueError, match="given back before"):
            scheduler.release(lease, OK)


async def test_a_cold_expert_is_launched_and_leased_when_ready(kind):
    async with scheduling(kind, local("a", 60)) as (scheduler, engine):
        waiting = asyncio.create_task(scheduler.acquire(ask("a")))
        launch = await engine.launched("a")
        assert launch.command.argv == ("serve", "a")
        server = launch.succeed(memory_bytes=60)
        lease = await waiting
        assert (lease.endpoint, lease.endpoint.token) == (server.endpoint, server.endpoint.token)
        await settled(kind, lambda: state(scheduler, "a") == "ready")
        assert scheduler.memory().used_bytes == 60


async def test_waiters_share_one_launch(kind):
    async with scheduling(kind, local("a", 60, concurrency=3)) as (scheduler, engine):
        waiting = [asyncio.create_task(scheduler.acquire(ask("a"))) for _ in range(3)]
        (await engine.launched("a")).succeed()
        assert {lease.expert for lease in await asyncio.gather(*waiting)} == {"a"}
        assert len(engine.launches) == 1


async def test_a_released_place_goes_to_who_waits(kind):
    async with scheduling(kind, remote("a", concurrency=1)) as (scheduler, _):
        lease = await scheduler.acquire(ask("a"))
        waiting = asyncio.create_task(scheduler.acquire(ask("a", request_id="w")))
        await until(lambda: scheduler.position("w") is not None)
        assert scheduler.position("w").ahead == 0
        assert scheduler.weigh(["a", "unheard of"]).waits_s == {"a": 2.0}
        scheduler.release(lease, OK)
        assert (await waiting).expert == "a"
        assert scheduler.position("w") is None


async def test_cancelling_gives_the_place_in_the_queue_up(kind):
    async with scheduling(kind, remote("a", concurrency=1)) as (scheduler, _):
        lease = await scheduler.acquire(ask("a"))
        waiting = asyncio.create_task(scheduler.acquire(ask("a", request_id="w")))
        await until(lambda: status(scheduler, "a").waiting == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert scheduler.position("w") is None
        await settled(kind, lambda: status(scheduler, "a").waiting == 0)
        scheduler.release(lease, OK)
        await settled(kind, lambda: status(scheduler, "a").leases == 0)


@pytest.mark.parametrize("cancelled_first", [True, False])
async def test_a_lease_granted_in_the_moment_of_the_cancellation_is_not_lost(kind, cancelled_first):
    async with scheduling(kind, remote("a", concurrency=1)) as (scheduler, _):
        lease = await scheduler.acquire(ask("a"))
        waiting = asyncio.create_task(scheduler.acquire(ask("a")))
        await until(lambda: status(scheduler, "a").waiting == 1)
        if cancelled_first:
            waiting.cancel()
            scheduler.release(lease, OK)
        else:
            scheduler.release(lease, OK)
            waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await settled(kind, lambda: status(scheduler, "a").leases == 0)
        assert (await scheduler.acquire(ask("a"))).expert == "a"


async def test_one_who_is_cancelled_before_it_could_ask_takes_nothing(kind):
    async with scheduling(kind, remote("a", concurrency=1)) as (scheduler, _):
        asking = asyncio.create_task(scheduler.acquire(ask("a")))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
        if not asking.cancelled():
            scheduler.release(asking.result(), OK)
        assert (await scheduler.acquire(ask("a"))).expert == "a"


async def test_a_failed_launch_is_the_error_of_who_waits(kind):
    async with scheduling(kind, local("a", 60)) as (scheduler, engine):
        waiting = asyncio.create_task(scheduler.acquire(ask("a")))
        (await engine.launched("a")).fail(ExpertError("a", "not_loaded", "its server exited with code 1"))
        with pytest.raises(ExpertError, match="exited with code 1") as caught:
            await waiting
        assert (caught.value.expert, caught.value.kind) == ("a", "not_loaded")
        await settled(kind, lambda: status(scheduler, "a").last_error is not None)


async def test_a_server_that_dies_is_launched_again(kind):
    async with scheduling(kind, local("a", 60)) as (scheduler, engine):
        waiting = asyncio.create_task(scheduler.acquire(ask("a")))
        server = (await engine.launched("a")).succeed()
        lease = await waiting
        server.crash()
        await asyncio.sleep(0)
        await settled(kind, lambda: state(scheduler, "a") == "cold")
        waiting = asyncio.create_task(scheduler.acquire(ask("a")))
        (await engine.launched("a", times=2)).succeed()
        await waiting
        scheduler.release(lease, FAILED)


async def test_the_deadline_ends_the_waiting(kind):
    async with scheduling(kind, remote("a", concurrency=1)) as (scheduler, _):
        await scheduler.acquire(ask("a"))
        with pytest.raises(DeadlineExceeded):
            await scheduler.acquire(ask("a", deadline=time.monotonic() + 0.02))


async def test_whoever_can_not_even_wait_is_told_when_to_come_back(kind):
    async with scheduling(kind, remote("a", rpm=1)) as (scheduler, _):
        scheduler.release(await scheduler.acquire(ask("a")), OK)
        with pytest.raises(RateLimited) as caught:
            await scheduler.acquire(ask("a", deadline=time.monotonic() + 5))
        assert 50 < caught.value.retry_after_s <= 60


async def test_warming_takes_no_room_and_what_is_warm_is_warm(kind):
    async with scheduling(kind, local("a", 60), remote("b")) as (scheduler, engine):
        warming = asyncio.create_task(scheduler.warm("a"))
        (await engine.launched("a")).succeed()
        await warming
        assert state(scheduler, "a") == "ready"
        await scheduler.warm("a")
        await scheduler.warm("b")
        assert len(engine.launches) == 1
        assert [each.leases for each in scheduler.status()] == [0, 0]


async def test_unloading_returns_when_the_memory_is_free(kind):
    async with scheduling(kind, local("a", 60), persona("poet", "a")) as (scheduler, engine):
        warming = asyncio.create_task(scheduler.warm("poet"))
        server = (await engine.launched("a")).succeed()
        await warming
        unloading = asyncio.create_task(scheduler.unload("poet"))
        await server.stopping.wait()
        assert not unloading.done()
        server.finish()
        await unloading
        assert state(scheduler, "poet") == "cold"
        await scheduler.unload("a")


async def test_unloading_breaks_a_launch_off_that_nobody_waits_for_any_more(kind):
    async with scheduling(kind, local("a", 60)) as (scheduler, engine):
        warming = asyncio.create_task(scheduler.warm("a"))
        launch = await engine.launched("a")
        warming.cancel()
        await scheduler.unload("a")
        assert launch.result.cancelled()
        assert state(scheduler, "a") == "cold"


async def test_warming_or_unloading_what_does_not_exist_is_an_error(kind):
    async with scheduling(kind, remote("a")) as (scheduler, _):
        with pytest.raises(UnknownModel, match="b") as caught:
            await scheduler.warm("b")
        assert (caught.value.status, caught.value.code) == (404, "model_not_found")
        with pytest.raises(UnknownModel):
            await scheduler.unload("b")


async def test_another_fleet_is_taken_over_and_who_waits_for_what_is_gone_goes_elsewhere(kind):
    async with scheduling(kind, remote("a", concurrency=1), remote("b")) as (scheduler, _):
        lease = await scheduler.acquire(ask("a"))
        waiting = asyncio.create_task(scheduler.acquire(ask("a")))
        moving = asyncio.create_task(scheduler.acquire(ask("a", "b")))
        await until(lambda: status(scheduler, "a").waiting >= 1)
        await scheduler.reconfigure([remote("b")], 100)
        assert [each.expert for each in scheduler.status()] == ["b"]
        with pytest.raises(NoCapacity):
            await waiting
        assert (await moving).expert == "b"
        scheduler.release(lease, OK)


async def test_a_fleet_that_can_not_be_is_refused_and_the_old_one_stays(kind):
    async with scheduling(kind, local("a", 40)) as (scheduler, _):
        with pytest.raises(ConfigError):
            await scheduler.reconfigure([local("a", 400)], 100)
        assert [each.expert for each in scheduler.status()] == ["a"]
        assert scheduler.memory().budget_bytes == 100


async def test_a_server_that_has_an_argument_changed_is_launched_anew(kind):
    def serve(option: str):
        return lambda: ServerCommand(argv=("serve", option))

    async with scheduling(kind, local("a", 40, command=serve("1")), engine=FakeEngine(hold=False)) as (
        scheduler,
        engine,
    ):
        await scheduler.warm("a")
        await scheduler.reconfigure([local("a", 40, command=serve("2"))], 100)
        await scheduler.warm("a")
        assert [launch.command.argv[1] for launch in engine.launches] == ["1", "2"]


async def test_after_closing_requests_are_refused(kind):
    async with scheduling(kind, remote("a", concurrency=1)) as (scheduler, _):
        lease = await scheduler.acquire(ask("a"))
        waiting = asyncio.create_task(scheduler.acquire(ask("a")))
        await asyncio.sleep(0)
        await scheduler.close()
        with pytest.raises(NoCapacity, match="shutting down"):
            await waiting
        with pytest.raises(NoCapacity, match="shutting down"):
            await scheduler.acquire(ask("a"))
        scheduler.release(lease, OK)


async def test_many_requests_over_few_places_are_all_served_once(kind):
    places = [local(f"l{i}", 40, concurrency=2, keep_alive_s=i * 0.01) for i in range(4)] + [remote("r", concurrency=3)]
    async with scheduling(kind, *places, engine=FakeEngine(hold=False)) as (scheduler, _):

        async def one(i: int) -> str:
            names = [f"l{i % 4}", f"l{(i + 1) % 4}", "r"][: 1 + i % 3]
            lease = await scheduler.acquire(ask(*names, mu=0.1, request_id=f"r{i}"))
            await asyncio.sleep(0)
            scheduler.release(lease, OK)
            return lease.expert

        served = await asyncio.wait_for(asyncio.gather(*(one(i) for i in range(300))), 30)
        assert len(served) == 300
        await settled(kind, lambda: all(each.leases == each.waiting == 0 for each in scheduler.status()))
