"""The service on several machines of a network (`namespaces.py`), as clients of each of them see it.

with network(3) as machines, serving_apart(config, machines, memory_gb={machines[1]: 4}) as service:
    is_answered(service.ingress[machines[0]], "w")      # by HAProxy there
    service.gateways[machines[1]].get("/readyz")        # the gateway there, by itself
    machines[1].cut(machines[2].address)

The first machine is the head, and `switchyard serve` runs there.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import httpx
import pytest

from tests.support.namespaces import Machine
from tests.support.serving import switchyard_serve
from tests.support.supervised import kept_up

PORT = 6379
GATEWAYS_FROM = 30_000
"""The port of a machine's first gateway."""
KEY = "of-a-test"
START_S = 60.0


@dataclass
class Apart:
    """ingress: through a machine's HAProxy. gateways: a machine's own. nodes: `ray start` there, every process that was it."""

    ingress: Mapping[Machine, httpx.Client]
    gateways: Mapping[Machine, httpx.Client]
    nodes: Mapping[Machine, list[Popen[bytes]]]


@contextmanager
def serving_apart(config: Path, machines: Sequence[Machine], memory_gb: Mapping[Machine, float]) -> Iterator[Apart]:
    """config: with as many gateways as machines. memory_gb: of a machine, by default 1; the scheduler is where most is."""
    head = machines[0]
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "SWITCHYARD_API_KEYS": KEY}
        for name, value in secret.items():
            patch.setenv(name, value)
        nodes = {}
        for each in machines:
            joins = ("--head", f"--port={PORT}", "--include-dashboard=false") if each is head else ()
            joins = joins or (f"--address={head.address}:{PORT}",)
            told = (f"--node-ip-address={each.address}", f"--memory={int(memory_gb.get(each, 1) * 1e9)}")
            nodes[each] = stack.enter_context(kept_up(*joins, *told, inside=each.inside))
        serve = switchyard_serve(config, "--host", "0.0.0.0", inside=head.inside, RAY_ADDRESS=f"{head.address}:{PORT}")
        port = stack.enter_context(serve).url.rpartition(":")[2]
        through, direct = (
            {each: stack.enter_context(_client(f"http://{each.address}:{at}")) for each in machines}
            for at in (port, GATEWAYS_FROM)
        )
        for client in (*through.values(), *direct.values()):
            until(lambda client=client: _is_ready(client), START_S)
        yield Apart(through, direct, nodes)


def until(condition: Callable[[], object], limit_s: float) -> None:
    give_up_at = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.1)


def ask(gateway: httpx.Client, model: str, text: str = "Hello", *, stream: bool = False) -> httpx.Response | None:
    """None when the connection breaks."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}
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


def homes(gateway: httpx.Client, expert: str) -> set[str]:
    """The addresses of machines in whose memory it is."""
    replicas = gateway.get("/admin/experts").json()["data"]
    return {each["node"] for each in replicas if each["expert"] == expert and each["state"] == "ready"}


def leases(gateway: httpx.Client) -> int:
    """All that are held."""
    return sum(each["leases"] for each in gateway.get("/admin/experts").json()["data"])


def _client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60)


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
