"""Whatever order things happen in, the scheduler counts the leases that gateways hold, and no others."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.scheduler.base import Lease
from orchestrator.scheduler.remote.client import RemoteScheduler
from tests.support.faraway import Faraway, faraway
from tests.support.places import OK, ask, remote
from tests.support.schedulers import until

GATEWAYS = 2

step = st.tuples(
    st.sampled_from(["acquire", "acquire", "cancel", "release", "release", "cut", "hold", "resume", "pass"]),
    st.integers(0, GATEWAYS - 1),
    st.sampled_from("ab"),
)


class Client:
    """One gateway, with what it asks for and what it got."""

    def __init__(self, gateway: RemoteScheduler) -> None:
        self.gateway = gateway
        self.asking: list[asyncio.Task[Lease]] = []
        self.held: list[Lease] = []

    def acquire(self, expert: str) -> None:
        self.asking.append(asyncio.create_task(self._acquire(expert)))

    async def _acquire(self, expert: str) -> Lease:
        lease = await self.gateway.acquire(ask(expert))
        self.held.append(lease)
        return lease

    def cancel(self) -> None:
        if self.asking:
            self.asking.pop(0).cancel()

    def release(self) -> None:
        if self.held:
            self.gateway.release(self.held.pop(0), OK)

    async def end(self) -> None:
        for task in self.asking:
            task.cancel()
        await asyncio.gather(*self.asking, return_exceptions=True)


def counted(far: Faraway) -> int:
    return sum(each.leases for each in far.driver.status())


async def live(steps: list[tuple[str, int, str]]) -> None:
    async with faraway(remote("a", concurrency=1), remote("b", concurrency=2)) as far:
        clients = [Client(await far.gateway(f"g{i}")) for i in range(GATEWAYS)]
        for what, which, expert in steps:
            client = clients[which]
            match what:
                case "acquire":
                    client.acquire(expert)
                case "cancel":
                    client.cancel()
                case "release":
                    client.release()
                case "cut":
                    far.relay.cut()
                case "hold":
                    far.relay.hold_answers()
                case "resume":
                    far.relay.resume()
                case "pass":
                    await asyncio.sleep(0.002)
            await asyncio.sleep(0)
        far.relay.resume()
        for client in clients:
            await client.end()
        await until(lambda: all(client.gateway.is_connected for client in clients))
        await until(lambda: counted(far) == sum(len(client.held) for client in clients))
        for client in clients:
            while client.held:
                client.release()
        await until(lambda: counted(far) == 0)
        assert all(each.waiting == 0 for each in far.driver.status())
        assert far.restored == []
        for client in clients:  # and every place can be had again
            client.gateway.release(await client.gateway.acquire(ask("a")), OK)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@given(steps=st.lists(step, max_size=30))
@settings(deadline=None, max_examples=40)
def test_the_scheduler_counts_what_gateways_hold(run, steps):
    run(live(steps))
