"""What a gateway knows of nodes that it can't reach, and what follows for what it asks for."""

from __future__ import annotations

import socket

import pytest
from msgspec.structs import replace

from orchestrator.errors import NoCapacity
from orchestrator.scheduler.base import NodeMemory
from orchestrator.scheduler.driver import LocalScheduler
from orchestrator.scheduler.remote.client import RemoteScheduler
from orchestrator.scheduler.remote.connection import Address
from orchestrator.scheduler.remote.reach import Reach, answers
from orchestrator.scheduler.remote.server import SchedulerServer
from tests.support.engine import FakeEngine, FakeServer
from tests.support.places import FAILED, OK, ask, local, on
from tests.support.schedulers import TOKEN, nothing_to_restore, status, until

HERE, THERE = "n1", "n2"
UNREACHED = replace(FAILED, reached=False)


class Network:
    """asked: where connections were tried."""

    def __init__(self) -> None:
        self.is_whole = False
        self.asked: list[Address] = []

    async def answers(self, address: Address) -> bool:
        self.asked.append(address)
        return self.is_whole

    def reach(self) -> Reach:
        return Reach(self.answers, look_s=0.01)


async def test_a_node_is_lost_until_it_answers():
    network = Network()
    reach = network.reach()
    reach.failed(THERE, "http://10.0.0.7:8080/v1")
    reach.failed(THERE, "http://10.0.0.7:8081/v1")
    await until(lambda: len(network.asked) > 2)
    assert reach.lost == (THERE,)
    assert set(network.asked) == {("10.0.0.7", 8080)}
    network.is_whole = True
    await until(lambda: reach.lost == ())


async def test_a_node_that_the_scheduler_has_lost_too_is_forgotten():
    network = Network()
    reach = network.reach()
    reach.failed(THERE, "http://10.0.0.7:8080/v1")
    reach.keep({HERE, THERE})
    assert reach.lost == (THERE,)
    reach.keep({HERE})
    assert reach.lost == ()


async def test_a_machine_where_nobody_listens_any_more_answers():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address(*listener.getsockname())
        assert await answers(address)
    assert await answers(address)


async def test_what_a_gateway_could_not_reach_it_does_not_ask_for_until_it_can_and_nobody_else_suffers():
    place = on(THERE, local("a", 60, concurrency=4))
    nodes = {HERE: NodeMemory(0), THERE: NodeMemory(100)}
    driver = LocalScheduler([place], {THERE: FakeEngine()}, budget_bytes=0, nodes=nodes)
    server = SchedulerServer(driver, TOKEN, reload=driver.close, restore=nothing_to_restore, snapshot_s=0.01)
    address = await server.start("127.0.0.1")

    async def locate() -> Address:
        return address

    network = Network()
    reach = network.reach()
    cut = RemoteScheduler(locate, TOKEN, "cut", node=HERE, reach=reach)
    well = RemoteScheduler(locate, TOKEN, "well", node=HERE)
    try:
        for gateway in (cut, well):
            await gateway.connected(5)
        assert place.command is not None
        assert driver.adopt("a", THERE, FakeServer("a", 60, hold=False), place.command, hold_s=0.0)
        for lease in [await cut.acquire(ask("a", request_id=f"r{i}")) for i in range(4)]:
            cut.release(lease, UNREACHED)
        with pytest.raises(NoCapacity, match="can't be reached from the gateway"):
            await cut.acquire(ask("a"))
        assert status(driver, "a").breaker == "closed"
        well.release(await well.acquire(ask("a")), OK)
        network.is_whole = True
        await until(lambda: reach.lost == ())
        cut.release(await cut.acquire(ask("a")), OK)
        await until(lambda: status(driver, "a").leases == 0)
    finally:
        for gateway in (cut, well):
            await gateway.close()
        await server.close()
        await driver.close()
