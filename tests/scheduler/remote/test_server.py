"""Peers that the scheduler's side should not trust, or wait for."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager

import pytest

from orchestrator.errors import NoCapacity
from orchestrator.scheduler.base import UNUSED, Weighed
from orchestrator.scheduler.remote.seen import updated
from orchestrator.scheduler.remote.wire import (
    FROM_SCHEDULER,
    LENGTH_BYTES,
    MAX_HELLO_BYTES,
    VERSION,
    Acquire,
    Changes,
    Granted,
    Held,
    Hello,
    Leave,
    Ping,
    Refused,
    Release,
    Snapshot,
    Warm,
    encode,
)
from tests.support.faraway import faraway
from tests.support.places import OK, ask, remote
from tests.support.schedulers import TOKEN, until

HELLO = encode(Hello(VERSION, TOKEN, "raw"))


@asynccontextmanager
async def connected(far):
    """A peer that says what the test writes, through no relay."""
    reader, writer = await asyncio.open_connection(*far.address)
    try:
        yield reader, writer
    finally:
        writer.close()


async def said(reader):
    """What is said next, but for pings."""
    while True:
        length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
        message = FROM_SCHEDULER.decode(await reader.readexactly(length))
        if not isinstance(message, Ping):
            return message


async def is_over(reader):
    try:
        async with asyncio.timeout(5):
            while await reader.read(1 << 16):
                pass
    except ConnectionError:
        pass
    return True


async def test_a_gateway_with_a_wrong_token_is_not_served(caplog):
    async with faraway(remote("a")) as far:
        gateway = await far.gateway(token="guessed")
        with pytest.raises(NoCapacity, match="can't be reached"):
            await gateway.connected(0.3)
        assert "the token is wrong" in caplog.text
        assert caplog.text.count("no connection to the scheduler: the token is wrong") == 1
        assert gateway.status() == ()


async def test_whoever_speaks_another_version_is_told():
    async with faraway(remote("a")) as far, connected(far) as (reader, writer):
        writer.write(encode(Hello(VERSION + 1, TOKEN, "newer")))
        assert await said(reader) == Refused(f"this scheduler speaks version {VERSION}, and not {VERSION + 1}")
        assert await is_over(reader)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        encode(Ping()),
        (MAX_HELLO_BYTES + 1).to_bytes(4, "big"),
        HELLO + encode(Held(())) + b"\0\0\0\3abc",
        HELLO + b"\x7f\xff\xff\xff",
        HELLO + HELLO,
        HELLO + b"\0\0\0\6\x93\xa7Acqu",
    ],
    ids=["http", "no hello", "long hello", "garbage", "a long frame", "two hellos", "half a message"],
)
async def test_nonsense_ends_its_connection_and_no_other(nonsense, caplog):
    async with faraway(remote("a")) as far, connected(far) as (reader, writer):
        gateway = await far.gateway()
        writer.write(nonsense)
        assert await is_over(reader)
        assert "ends: it sent" in caplog.text
        assert gateway.is_connected
        gateway.release(await gateway.acquire(ask("a")), OK)


async def test_random_bytes_end_their_connection():
    async with faraway(remote("a"), ping_s=0.05) as far:
        for start in (b"", HELLO):
            async with connected(far) as (reader, writer):
                writer.write(start + os.urandom(1 << 16))
                assert await is_over(reader)


async def test_whoever_does_not_say_who_it_is_must_go_though_it_talks():
    async with faraway(remote("a"), ping_s=0.05) as far, connected(far) as (reader, writer):
        over = asyncio.create_task(is_over(reader))
        for byte in b"\0\0\x0f\xff" + bytes(400):
            if over.done():
                break
            writer.write(bytes([byte]))
            await asyncio.sleep(0.01)
        assert over.done()


async def test_frames_may_come_in_pieces():
    async with faraway(remote("a")) as far, connected(far) as (reader, writer):
        for byte in HELLO + encode(Acquire(1, ask("a"), 5.0)):
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert isinstance(await said(reader), Snapshot)
        while not isinstance(answer := await said(reader), Granted):
            pass
        assert (answer.number, answer.lease.expert) == (1, "a")


async def test_what_one_gateway_says_takes_effect_in_order():
    """Whoever leaves in the same breath in which it gives back has given back, and said how it went."""
    async with faraway(remote("a", concurrency=1)) as far, connected(far) as (reader, writer):
        writer.write(HELLO + encode(Held(())) + encode(Acquire(1, ask("a"), 5.0)))
        while not isinstance(answer := await said(reader), Granted):
            pass
        lease = answer.lease.id
        writer.write(b"".join(map(encode, [Acquire(2, ask("a"), 5.0), Release(lease, OK), Release(lease, UNUSED)])))
        while not isinstance(answer := await said(reader), Granted):
            pass
        assert answer.number == 2
        assert answer.lease.wait_s > 0  # it had asked before the place was free
        writer.write(encode(Release(answer.lease.id, OK)) + encode(Leave()))
        assert await is_over(reader)
        assert far.status("a").leases == 0


async def test_whoever_does_not_read_is_dropped_and_nobody_else_waits_for_it(caplog):
    async with faraway(remote("a")) as far:
        gateway = await far.gateway()
        deaf = socket.create_connection(far.address)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader, writer = await asyncio.open_connection(sock=deaf, limit=1)
        writer.write(HELLO)
        long_name = "x" * (1 << 20)  # which the error repeats
        for number in range(64):
            writer.write(encode(Warm(number, long_name)))
        slowest = 0.0
        loop = asyncio.get_running_loop()
        while "it doesn't read what it is sent" not in caplog.text:
            began = loop.time()
            gateway.release(await gateway.acquire(ask("a")), OK)
            slowest = max(slowest, loop.time() - began)
        assert slowest < 5.0
        assert gateway.is_connected
        writer.close()
        del reader


async def test_a_bug_on_the_other_side_is_an_answer(caplog):
    async with faraway(remote("a")) as far:
        gateway = await far.gateway()
        far.reload_error = ZeroDivisionError()
        with pytest.raises(NoCapacity, match="the scheduler has failed"):
            await gateway.reconfigure([], 0)
        assert "ZeroDivisionError" in caplog.text


async def test_many_reloads_at_once_are_done_one_after_the_other():
    async with faraway(remote("a")) as far:
        gateways = [await far.gateway(f"g{i}") for i in range(3)]
        await asyncio.gather(*(gateway.reconfigure([], 0) for gateway in gateways))
        assert far.reloads == 3


async def test_what_has_changed_is_seen_before_the_next_snapshot_is_due():
    async with faraway(remote("a", concurrency=1), snapshot_s=60.0) as far:
        gateway = await far.gateway()
        lease = await gateway.acquire(ask("a"))
        waiting = asyncio.create_task(gateway.acquire(ask("a")))
        await until(lambda: far.status("a").waiting == 1)
        gateway.release(lease, OK)
        await waiting
        await until(lambda: gateway.status()[0].leases == 1)


async def test_what_changes_is_told_and_not_all_again():
    fleet = [remote(f"expert-{i}") for i in range(300)]
    async with faraway(*fleet, snapshot_s=0.01) as far, connected(far) as (reader, writer):
        writer.write(HELLO + encode(Held(())) + encode(Acquire(1, ask("expert-7"), 5.0)))
        assert isinstance(await said(reader), Snapshot)
        while not (isinstance(told := await said(reader), Changes) and told.status):
            assert not isinstance(told, Snapshot)
        assert [each.expert for each in told.status.values()] == ["expert-7"]


async def test_another_fleet_is_told_whole_and_seen_as_it_is():
    async with faraway(remote("a"), remote("b")) as far:
        gateway = await far.gateway()
        await far.driver.reconfigure([remote("b"), remote("c"), remote("d")], 100)
        await until(lambda: [each.expert for each in gateway.status()] == ["b", "c", "d"])
        assert set(gateway.weigh(["a", "d"]).waits_s) == {"d"}


async def test_whoever_reads_slowly_is_told_less_often_and_then_all_of_it():
    fleet = [remote("expert-" + "x" * 2_000 + str(i)) for i in range(500)]
    async with faraway(*fleet, snapshot_s=0.005) as far, connected(far) as (reader, writer):
        writer.write(HELLO + encode(Held(())))
        numbers = [encode(Warm(i, "y" * 10_000)) for i in range(1_000)]  # each is answered by as much
        writer.write(b"".join(numbers))
        await until(lambda: far.server.clients == {"raw"})
        gateway = await far.gateway("reads")
        held = [await gateway.acquire(ask(fleet[0].expert)) for _ in range(20)]
        await until(lambda: gateway.status()[0].leases == 20)
        seen = Snapshot((), gateway.memory(), Weighed({}, {}))
        async with asyncio.timeout(10):
            while not seen.status or seen.status[0].leases != 20:
                told = await said(reader)
                seen = (
                    told if isinstance(told, Snapshot) else updated(seen, told) if isinstance(told, Changes) else seen
                )
        for lease in held:
            gateway.release(lease, OK)
