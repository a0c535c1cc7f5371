"""What the gateway costs: requests and chunks per second, added latency, processor time and memory, beside others in one run.

    python -m evals.bench gateway --seconds 10
    python -m evals.bench gateway --requests 200000 --litellm .bench/litellm/bin/litellm --json

Every contender forwards to the same mock upstream and has one core to itself; the mock upstream and the load share another
(on a machine with one core, everything shares it). `make bench-litellm` installs LiteLLM there.
`bare` is Starlette and aiohttp with nothing in between; nginx, when it is installed, is a yardstick nobody here wrote; LiteLLM's
proxy runs from an environment of its own. Ratios within one run mean something; the numbers belong to the machine.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvloop

from evals.contenders import CONTENDERS, KEY, Server, Setting, free_port, launched, pin
from evals.load import LoadResult, Target, closed_loop, open_loop, post

PATH = "/v1/chat/completions"
CONNECTIONS = (1, 16, 128)
CHUNK_INTERVAL_MS = 1.0
NUM_QUESTIONS = 20_000
CONTENDER_CORE, LOAD_CORE = 0, 1
_SERIES = itertools.count()


@dataclass(frozen=True, slots=True)
class Row:
    """One contender under one load. rate: answers a second, or chunks for a stream. cpu_ms: per answer, of the contender alone."""

    contender: str
    load: str
    connections: int
    rate: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    errors: int


def bench_gateway(
    *, seconds: float = 5.0, requests: int = 0, litellm: Path | None = None, only: tuple[str, ...] = ()
) -> Iterator[Row]:
    """Every contender that can run here under every load. requests: length of the memory run; 0 leaves it out."""
    names = [
        name for name, contender in CONTENDERS.items() if contender.available(litellm) and (not only or name in only)
    ]
    with mock_upstream() as plain_port, mock_upstream("--interval-ms", str(CHUNK_INTERVAL_MS)) as paced_port:
        pin(0, LOAD_CORE)
        for name in names:
            for upstream_port, measure in ((plain_port, _throughput), (paced_port, _streaming)):
                with tempfile.TemporaryDirectory() as folder:
                    setting = Setting(free_port(), upstream_port, Path(folder), litellm)
                    with launched(CONTENDERS[name], setting, core=CONTENDER_CORE) as server:
                        _load(server, connections=16, seconds=1.0)  # warm up
                        yield from measure(name, server, seconds)
                        if requests and measure is _throughput and name == "switchyard":
                            yield from _memory(name, server, requests)


def _throughput(name: str, server: Server, seconds: float) -> Iterator[Row]:
    """Closed loop at each number of connections; then open loop at 70% of the highest rate."""
    highest = 0.0
    for connections in CONNECTIONS:
        result, cpu_s = _load(server, connections=connections, seconds=seconds)
        highest = max(highest, result.throughput)
        yield _row(name, "closed loop", connections, result, result.throughput, cpu_s)
    before = server.cpu_s()
    result = uvloop.run(open_loop(_target(server), rate=0.7 * highest, duration_s=seconds))
    yield _row(name, "open loop at 70%", 0, result, result.throughput, server.cpu_s() - before)


def _streaming(name: str, server: Server, seconds: float) -> Iterator[Row]:
    """Streams of 200 chunks, each chunk its own write a millisecond after the one before."""
    for connections in CONNECTIONS:
        result, cpu_s = _load(server, connections=connections, seconds=seconds, stream=True)
        yield _row(name, "streaming, chunks", connections, result, result.events_per_s, cpu_s)


def _memory(name: str, server: Server, requests: int) -> Iterator[Row]:
    """Resident memory, in MB, in the place of the rate: after each tenth of `requests`."""
    for tenth in range(1, 11):
        result, cpu_s = _load(server, connections=16, seconds=float("inf"), max_requests=requests // 10)
        yield _row(name, f"MB after {tenth * requests // 10}", 16, result, server.memory_mb(), cpu_s)


def _load(
    server: Server, *, connections: int, seconds: float, stream: bool = False, max_requests: int | None = None
) -> tuple[LoadResult, float]:
    """The result, and the contender's processor seconds."""
    before = server.cpu_s()
    load = closed_loop(_target(server, stream), connections=connections, duration_s=seconds, max_requests=max_requests)
    return uvloop.run(load), server.cpu_s() - before


def _target(server: Server, stream: bool = False) -> Target:
    """So many questions, different in every run, that no cache of scores answers for a router."""
    headers, series = {"authorization": f"Bearer {KEY}"}, next(_SERIES)
    bodies = (
        {
            "model": "auto",
            "stream": stream,
            "messages": [{"role": "user", "content": f"Series {series}: a word about number {i}."}],
        }
        for i in range(NUM_QUESTIONS)
    )
    return Target("127.0.0.1", server.port, [post(PATH, msgspec.json.encode(body), headers) for body in bodies])


def _row(name: str, load: str, connections: int, result: LoadResult, rate: float, cpu_s: float) -> Row:
    answers = max(1, len(result.latencies_s))
    errors = sum(result.errors.values())
    p50_ms, p99_ms = result.percentile_ms(50), result.percentile_ms(99)
    return Row(name, load, connections, rate, p50_ms, p99_ms, cpu_s * 1000 / answers, errors)


@contextmanager
def mock_upstream(*arguments: str) -> Iterator[int]:
    """A mock upstream in a process of its own, on the load's core."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "evals.mock_upstream", "--port", str(port), *arguments])
    try:
        pin(process.pid, LOAD_CORE)
        time.sleep(1.0)
        yield port
    finally:
        process.terminate()
        process.wait()
