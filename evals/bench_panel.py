"""What a panel takes beyond its slowest member: five mock experts behind a gateway, asked together and the slowest alone, in turn.

    python -m evals.bench panel --rounds 200

The experts answer after 10 to 50 ms. Requests to the panel and to its slowest member alternate on one connection, so that both see
the same machine; the difference of the medians is what asking five and combining them costs.
"""

from __future__ import annotations

import http.client
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec

from evals.bench_gateway import CONTENDER_CORE, LOAD_CORE, mock_upstream
from evals.contenders import Contender, Setting, beside_python, free_port, launched, pin

LATENCIES_MS = (10, 20, 30, 40, 50)


@dataclass(frozen=True, slots=True)
class Row:
    """Medians and tails in ms. added_p50_ms: of the panel over its slowest member, asked alone."""

    aggregator: str
    members: int
    slowest_p50_ms: float
    panel_p50_ms: float
    panel_p99_ms: float
    added_p50_ms: float


def bench_panel(*, rounds: int) -> Iterator[Row]:
    """One row for a panel that votes."""
    with ExitStack() as stack:
        ports = [stack.enter_context(mock_upstream("--latency-ms", str(latency))) for latency in LATENCIES_MS]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        setting = Setting(free_port(), ports[0], folder)
        contender = Contender("a panel of five", lambda setting: _command(setting, ports))
        stack.enter_context(launched(contender, setting, core=CONTENDER_CORE))
        pin(0, LOAD_CORE)
        yield _compare(setting.port, rounds)


def _command(setting: Setting, ports: list[int]) -> list[str]:
    experts = [
        {"name": f"expert-{i}", "backend": "openai", "base_url": f"http://127.0.0.1:{port}/v1", "model": "mock"}
        for i, port in enumerate(ports)
    ]
    panels = {"five": {"experts": [expert["name"] for expert in experts], "aggregator": "vote"}}
    path = setting.folder / "experts.yaml"
    path.write_bytes(msgspec.json.encode({"version": 1, "experts": experts, "panels": panels}))
    return [beside_python("switchyard"), "serve", "--config", str(path), "--port", str(setting.port)]


def _compare(port: int, rounds: int) -> Row:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    slowest = f"expert-{len(LATENCIES_MS) - 1}"
    for model in (slowest, "panel/five") * 5:
        _ask(connection, model)
    alone, together = [], []
    for _ in range(rounds):
        alone.append(_ask(connection, slowest))
        together.append(_ask(connection, "panel/five"))
    connection.close()
    alone_p50, together_p50 = statistics.median(alone), statistics.median(together)
    tail = statistics.quantiles(together, n=100)[98]
    return Row("vote", len(LATENCIES_MS), alone_p50, together_p50, tail, together_p50 - alone_p50)


def _ask(connection: http.client.HTTPConnection, model: str) -> float:
    """Milliseconds until the whole answer is there. Raises RuntimeError for an error."""
    body = msgspec.json.encode({"model": model, "messages": [{"role": "user", "content": "What is 6 x 7?"}]})
    began = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    response = connection.getresponse()
    said = response.read()
    if response.status != 200:
        raise RuntimeError(said.decode())
    return (time.perf_counter() - began) * 1000
