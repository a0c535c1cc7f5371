"""What breaks between a gateway and the scheduler: connections, processes, the network. Nobody notices more than time."""

from __future__ import annotations

import asyncio
import time

import pytest

from orchestrator.errors import DeadlineExceeded, NoCapacity
from orchestrator.scheduler.remote.client import RemoteScheduler
from orchestrator.scheduler.remote.connection import Address
from tests.support.faraway import faraway
from tests.support.places import OK, ask, remote
from tests.support.schedulers import TOKEN, status, until

ONE_PLACE = remote("a", concurrency=1)
NOWHERE = Address("127.0.0.1", 1)


async def test_a_broken_connection_is_mended_and_what_is_held_stays():
    async with faraway(ONE_PLACE) as far:
        gateway = await far.gateway()
        lease = await gateway.acquire(ask("a"))
        far.relay.cut()
        await until(lambda: not gateway.is_connected)
        await gateway.connected(5)
        assert far.status("a").leases == 1
        assert far.restored == []
        gateway.release(lease, OK)
        await until(lambda: far.status("a").leases == 0)


async def test_who_waits_notices_no_broken_connection():
    async with faraway(ONE_PLACE) as far:
        gateway = await far.gateway()
        lease = await gateway.acquire(ask("a"))
        waiting = asyncio.create_task(gateway.acquire(ask("a", request_id="w")))
        await until(lambda: far.status("a").waiting == 1)
        far.relay.cut()
        await until(lambda: not gateway.is_connected and far.status("a").waiting == 0)
        await until(lambda: far.status("a").waiting == 1)
        gateway.release(lease, OK)
        assert (await waiting).expert == "a"


async def test_what_is_given_back_without_a_connection_is_told_later():
    async with faraway(ONE_PLACE) as far:
        gateway = await far.gateway()
        lease = await gateway.acquire(ask("a"))
        await until(lambda: status(gateway, "a").leases == 1)
        await far.server.close()
        await until(lambda: not gateway.is_connected)
        gateway.release(lease, OK)
        assert [each.leases for each in gateway.status()] == [1]  # what was known last
        assert gateway.age_s < 5
        await far.restart()
        await gateway.connected(5)
        assert far.restored == [lease.id]
        gateway.release(await gateway.acquire(ask("a")), OK)


async def test_who_can_not_be_told_where_the_scheduler_is_finds_it_where_it_was():
    async with faraway(ONE_PLACE) as far:
        told = [far.relay.address]

        async def locate() -> Address:
            return told.pop()

        gateway = RemoteScheduler(locate, TOKEN, "gateway")
        await gateway.connected(5)
        assert gateway.away_s == 0.0
        far.relay.cut()
        await until(lambda: not gateway.is_connected)
        assert gateway.away_s >= 0.0
        await gateway.connected(5)
        gateway.release(await gateway.acquire(ask("a")), OK)
        await gateway.close()


async def test_a_grant_that_is_lost_with_its_connection_is_given_back_and_granted_again():
    async with faraway(ONE_PLACE) as far:
        gateway = await far.gateway()
        far.relay.hold_answers()
        waiting = asyncio.create_task(gateway.acquire(ask("a")))
        await until(lambda: far.status("a").leases == 1)
        far.relay.cut()
        far.relay.resume()
        gateway.release(await waiting, OK)
        await until(lambda: far.status("a").leases == 0)


async def test_a_grant_that_crosses_its_cancellation_is_given_back():
    async with faraway(ONE_PLACE) as far:
        gateway = await far.gateway()
        far.relay.hold_answers()
        waiting = asyncio.create_task(gateway.acquire(ask("a")))
        await until(lambda: far.status("a").leases == 1)
        waiting.cancel()
        await asyncio.wait({waiting})
        far.relay.resume()
        await until(lambda: far.status("a").leases == 0)


async def test_who_is_cancelled_after_its_grant_came_and_before_it_could_take_it_loses_no_lease():
    async with faraway(remote("a", concurrency=2)) as far:
        gateway = await far.gateway()

        async def first() -> None:
            await gateway.acquire(ask("a"))
            second.cancel()  # both were granted in one breath

        both = asyncio.create_task(first())
        second = asyncio.create_task(gateway.acquire(ask("a")))
        await both
        with pytest.raises(asyncio.CancelledError):
            await second
        await until(lambda: far.status("a").leases == 1)


async def test_a_gateway_that_dies_waits_no_more_and_what_it_held_is_given_back_after_a_while():
    async with faraway(ONE_PLACE, grace_s=0.2) as far:
        gateway = await far.gateway()
        await gateway.acquire(ask("a"))
        waiting = asyncio.create_task(gateway.acquire(ask("a")))
        await until(lambda: far.status("a").waiting == 1)
        far.address = NOWHERE
        far.relay.cut()
        began = time.monotonic()
        await until(lambda: far.status("a").waiting == 0)
        assert far.status("a").leases == 1
        await until(lambda: far.status("a").leases == 0)
        assert time.monotonic() - began > 0.15
        waiting.cancel()


async def test_a_gateway_that_leaves_gives_back_at_once():
    async with faraway(ONE_PLACE) as far:
        gateway = await far.gateway()
        await gateway.acquire(ask("a"))
        await gateway.close()
        await until(lambda: far.status("a").leases == 0)


async def test_a_gateway_that_is_back_too_late_has_its_leases_restored():
    async with faraway(ONE_PLACE, grace_s=0.02) as far:
        gateway = await far.gateway()
        lease = await gateway.acquire(ask("a"))
        there, far.address = far.address, NOWHERE
        far.relay.cut()
        await until(lambda: far.status("a").leases == 0)
        far.address = there
        await gateway.connected(5)
        assert far.restored == [lease.id]
        gateway.release(lease, OK)
        gateway.release(await gateway.acquire(ask("a")), OK)


async def test_another_scheduler_on_another_port_is_told_what_is_held_and_who_waits():
    async with faraway(ONE_PLACE, remote("b")) as far:
        gateway = await far.gateway()
        lease = await gateway.acquire(ask("a"))
        waiting = asyncio.create_task(gateway.acquire(ask("a", request_id="w")))
        await until(lambda: far.status("a").waiting == 1)
        before = far.address
        await far.server.close()
        await until(lambda: not gateway.is_connected)
        late = asyncio.create_task(gateway.acquire(ask("b")))
        await far.restart()
        assert far.address != before
        assert (await waiting).expert == "a"
        assert (await late).expert == "b"
        assert far.restored == [lease.id]


async def test_a_network_that_is_cut_without_a_word_is_noticed_on_both_sides():
    async with faraway(ONE_PLACE, ping_s=0.05, grace_s=0.05) as far:
        gateway = await far.gateway(ping_s=0.05)
        lease = await gateway.acquire(ask("a"))
        there, far.address = far.address, NOWHERE
        far.relay.strand()
        await until(lambda: not gateway.is_connected and far.status("a").leases == 0)
        far.address = there
        await gateway.connected(5)
        assert far.restored == [lease.id]


async def test_a_slow_network_is_no_dead_one():
    async with faraway(ONE_PLACE, ping_s=0.3, snapshot_s=0.3) as far:
        gateway = await far.gateway(ping_s=0.3)
        connections = far.relay.connections
        far.relay.delay_s = 0.45
        for _ in range(2):
            gateway.release(await gateway.acquire(ask("a")), OK)
        assert far.relay.connections == connections


async def test_a_gateway_that_is_back_before_its_old_connection_is_missed_keeps_what_it_holds(caplog):
    async with faraway(ONE_PLACE) as far:
        gateway = await far.gateway(ping_s=0.05)
        lease = await gateway.acquire(ask("a"))
        waiting = asyncio.create_task(gateway.acquire(ask("a")))
        await until(lambda: far.status("a").waiting == 1)
        far.relay.strand()
        await until(lambda: not gateway.is_connected)
        await gateway.connected(5)
        assert "gateway has another now" in caplog.text
        assert (far.status("a").leases, far.restored) == (1, [])
        gateway.release(lease, OK)
        gateway.release(await waiting, OK)
        await until(lambda: far.status("a").leases == 0)


async def test_somebody_else_at_the_schedulers_address_is_told_of_once(caplog):
    async def hangs_up(reader, writer):
        writer.close()

    async with faraway(ONE_PLACE) as far:
        listener = await asyncio.start_server(hangs_up, "127.0.0.1")
        far.address = Address(*listener.sockets[0].getsockname()[:2])
        gateway = await far.gateway(token="not yet")
        with pytest.raises(NoCapacity):
            await gateway.connected(0.5)
        assert far.relay.connections > 1
        assert caplog.text.count("ended it without a word") == 1
        listener.close()


async def test_patience_ends_with_a_clear_refusal():
    async with faraway(ONE_PLACE) as far:
        gateway = await far.gateway(patience_s=0.2)
        await far.server.close()
        await until(lambda: not gateway.is_connected)
        with pytest.raises(NoCapacity, match="can't be reached") as caught:
            await gateway.acquire(ask("a"))
        assert caught.value.retry_after_s == 1.0
        with pytest.raises(NoCapacity):
            await gateway.warm("a")


async def test_the_deadline_counts_without_a_connection_too():
    async with faraway(ONE_PLACE) as far:
        gateway = await far.gateway()
        await far.server.close()
        await until(lambda: not gateway.is_connected)
        with pytest.raises(DeadlineExceeded):
            await gateway.acquire(ask("a", deadline=time.monotonic() + 0.05))


async def test_who_asks_again_has_what_is_left_of_its_deadline():
    async with faraway(ONE_PLACE) as far:
        gateway = await far.gateway()
        await gateway.acquire(ask("a"))
        began = time.monotonic()
        waiting = asyncio.create_task(gateway.acquire(ask("a", deadline=began + 2.0)))
        await asyncio.sleep(1.5)
        far.relay.cut()
        with pytest.raises(DeadlineExceeded, match="no expert was free"):
            await waiting
        assert 1.95 < time.monotonic() - began < 3.4


async def test_a_gateway_that_was_back_in_time_is_not_given_up_later():
    async with faraway(ONE_PLACE, grace_s=0.3) as far:
        gateway = await far.gateway()
        lease = await gateway.acquire(ask("a"))
        far.relay.cut()
        await until(lambda: not gateway.is_connected)
        await gateway.connected(5)
        await asyncio.sleep(0.4)  # nothing happens any more
        assert far.status("a").leases == 1
        gateway.release(lease, OK)


async def test_one_who_is_cancelled_without_a_connection_is_not_asked_for_later():
    async with faraway(ONE_PLACE) as far:
        gateway = await far.gateway()
        await far.server.close()
        await until(lambda: not gateway.is_connected)
        waiting = asyncio.create_task(gateway.acquire(ask("a")))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        await far.restart()
        await gateway.connected(5)
        gateway.release(await gateway.acquire(ask("a")), OK)
        await until(lambda: far.status("a").leases == 0)


async def test_a_gateway_may_begin_before_the_scheduler_does():
    async with faraway(ONE_PLACE) as far:
        await far.server.close()
        gateway = await far.gateway(token="not yet")
        with pytest.raises(NoCapacity):
            await gateway.connected(0.05)
        assert gateway.status() == ()
        assert gateway.age_s == float("inf")


async def test_a_lease_that_no_scheduler_knows_is_not_taken_for_another_of_the_same_request():
    async with faraway(remote("a", concurrency=2)) as far:
        gateway = await far.gateway()
        lost = await gateway.acquire(ask("a", request_id="r"))
        await far.restart()  # its server is gone, too: it counts nowhere
        another = await gateway.acquire(ask("a", request_id="r"))
        assert another.id != lost.id
        gateway.release(lost, OK)
        await until(lambda: far.status("a").leases == 1)
        gateway.release(another, OK)
        await until(lambda: far.status("a").leases == 0)


async def test_a_reload_goes_on_though_who_asked_for_it_is_cut_off():
    async with faraway(ONE_PLACE) as far:
        gateway = await far.gateway()
        far.reload_when = asyncio.Event()
        asking = asyncio.create_task(gateway.reconfigure([], 0))
        await until(lambda: far.reloads == 1)
        far.relay.cut()
        await until(lambda: not gateway.is_connected)
        far.reload_when.set()
        await asking  # it was asked for again
        assert (far.reloads, far.reloaded) == (2, 2)


async def test_what_cannot_be_said_is_an_error_for_who_said_it_and_no_other():
    async with faraway(ONE_PLACE) as far:
        gateway = await far.gateway()
        with pytest.raises(UnicodeEncodeError):
            await gateway.warm("half \ud800")
        far.relay.cut()
        await until(lambda: not gateway.is_connected)
        await gateway.connected(5)
        gateway.release(await gateway.acquire(ask("a")), OK)


async def test_what_a_large_fleet_weighs_is_not_told_with_every_lease_that_is_held():
    fleet = [remote(f"expert-{i}", concurrency=500) for i in range(200)]
    async with faraway(*fleet) as far:
        gateway = await far.gateway()
        names = [place.expert for place in fleet]
        held = await asyncio.gather(*(gateway.acquire(ask(*names, step=0.001)) for _ in range(400)))
        assert len(held[0].weighed.waits_s) == 200
        before = far.relay.bytes_asked
        far.relay.cut()
        await until(lambda: not gateway.is_connected)
        await gateway.connected(5)
        await until(lambda: far.relay.bytes_asked > before)
        assert far.relay.bytes_asked - before < 400 * 200
        assert sum(each.leases for each in far.driver.status()) == 400
        for lease in held:
            gateway.release(lease, OK)
