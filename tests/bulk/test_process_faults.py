"""Batches over experts that are processes: what dies amid one, what a killed gateway leaves of it. By HTTP, as clients see it."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from orchestrator.bulk.store import LEASE_S
from tests.support.batches import URL, line
from tests.support.faulty import Servers, expert, faulty
from tests.support.postgres import database_url
from tests.support.service import write_config
from tests.support.serving import switchyard_serve


async def test_a_batch_goes_on_where_one_expert_can_not_be_loaded_and_another_dies_once(tmp_path: Path) -> None:
    at_once = {"patience_s": 0}
    async with faulty(tmp_path, expert("a"), expert("b"), memory={"budget_gb": 0.1}, batches=at_once) as machine:
        machine.tell("a", "dies_loading")
        machine.tell("b", "hangs q3")
        await machine.service.batches.open()
        batch = await asyncio.to_thread(batch_of, str(machine.http.base_url), requests(6))
        await machine.until(lambda: "q3" in machine.asked("b"))
        machine.tell("b")
        machine.alive("b")[0].kill()
        status = await asyncio.to_thread(ended, str(machine.http.base_url), batch)
        assert status["request_counts"] == {"total": 6, "completed": 3, "failed": 3}
        assert sorted(machine.asked("b")) == ["q1", "q3", "q3", "q5"]
        assert await machine.at_rest() == {"a": "cold", "b": "ready"}


def test_a_gateway_killed_amid_a_batch_leaves_no_process_and_the_next_one_goes_on(tmp_path: Path) -> None:
    servers = Servers(tmp_path)
    for name, last in (("a", "q4"), ("b", "q5")):
        (tmp_path / name).mkdir()
        servers.tell(name, f"hangs {last}")
    config = write_config(tmp_path, expert("a"), expert("b"), memory={"budget_gb": 0.1, "prefetch": False})
    with switchyard_serve(config) as killed:
        batch = batch_of(killed.url, requests(8))
        while not third_is_asked(killed.url, batch, servers):
            time.sleep(0.05)
        below = killed.servers()
        killed.process.kill()
    assert below
    assert not psutil.wait_procs(below, timeout=10)[1]
    for name in "ab":
        servers.tell(name)
    with switchyard_serve(config) as again:
        status = ended(again.url, batch)
        answers = httpx.get(f"{again.url}/v1/files/{status['output_file_id']}/content").text
    assert status["request_counts"] == {"total": 8, "completed": 8, "failed": 0}
    assert answers.count("\n") == 8
    asked = servers.asked("a") + servers.asked("b")
    assert set(asked) == {f"q{i}" for i in range(8)}
    assert len(asked) == 9, "only the one that was never answered was asked again"
    assert servers.launches("a") + servers.launches("b") == 3
    assert not servers.alive("a") + servers.alive("b")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_when_the_gateway_that_runs_batches_is_gone_another_on_its_ledger_goes_on(how: int, tmp_path: Path) -> None:
    """The one that was only stopped wakes up later, and leaves it to the other."""
    (tmp_path / "a").mkdir()
    servers = Servers(tmp_path)
    servers.tell("a", "hangs q4")
    shared = {"ledger": {"url": database_url("postgres", tmp_path)}}
    config = write_config(tmp_path, expert("a"), memory={"budget_gb": 0.1, "prefetch": False}, **shared)
    with switchyard_serve(config) as gone, switchyard_serve(config) as other:
        batch = batch_of(other.url, [line(f"r{i}", "a", f"q{i}") for i in range(8)])
        while "q4" not in servers.asked("a"):
            time.sleep(0.05)
        assert gone.servers()
        assert not other.servers()
        gone.process.send_signal(how)
        servers.tell("a")
        if how == signal.SIGSTOP:
            time.sleep(1.2 * LEASE_S)
            gone.process.send_signal(signal.SIGCONT)
        status = ended(other.url, batch, within_s=2 * LEASE_S)
        assert status["request_counts"] == {"total": 8, "completed": 8, "failed": 0}
    assert Counter(servers.asked("a")) == Counter([f"q{i}" for i in range(8)] + ["q4"])


def requests(count: int) -> list[dict[str, Any]]:
    """To `a` and `b` in turn."""
    return [line(f"r{i}", "ab"[i % 2], f"q{i}") for i in range(count)]


def batch_of(url: str, lines: list[dict[str, Any]]) -> str:
    data = "".join(json.dumps(each) + "\n" for each in lines)
    file = httpx.post(f"{url}/v1/files", files={"file": ("in.jsonl", data)}, data={"purpose": "batch"}).json()
    wanted = {"input_file_id": file["id"], "endpoint": URL, "completion_window": "24h"}
    made: str = httpx.post(f"{url}/v1/batches", json=wanted).json()["id"]
    return made


def ended(url: str, batch: str, within_s: float = 30.0) -> dict[str, Any]:
    """The batch once it is completed."""
    until = time.monotonic() + within_s
    while (status := httpx.get(f"{url}/v1/batches/{batch}").json())["status"] != "completed":
        assert time.monotonic() < until, status
        time.sleep(0.05)
    found: dict[str, Any] = status
    return found


def third_is_asked(url: str, batch: str, servers: Servers) -> bool:
    """Whether two are answered, and the next is being asked."""
    completed: int = httpx.get(f"{url}/v1/batches/{batch}").json()["request_counts"]["completed"]
    return len(servers.asked("a") + servers.asked("b")) == completed + 1 == 3
