"""A load generator for HTTP/1.1 services on loopback: closed loop (so many connections, always busy), open loop (so many a second).

    result = await closed_loop(Target("127.0.0.1", 8700, [request]), connections=16, duration_s=5)
    result.throughput, result.percentile_ms(50)

It is one asyncio protocol that parses no more than what ends a response, because it shares two cores with what it measures. Open
loop latencies count from the moment a request was due, so that a stalled server can't hide behind its stall. Not for servers on
other machines.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

_LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send what: whole HTTP requests, used in turn. marker: what is counted in their answers."""

    host: str
    port: int
    requests: Sequence[bytes]
    marker: bytes = b"data: "


@dataclass(slots=True)
class LoadResult:
    """latencies_s: of the answers with status 200. first_events_s: until the first event of each answer that has one.

    answered_at: when they were whole, as `time.perf_counter` has it. events: how often the target's marker, by default that of an
    SSE event, is in answers. errors: a count by status or exception.
    """

    latencies_s: list[float] = field(default_factory=list)
    first_events_s: list[float] = field(default_factory=list)
    answered_at: list[float] = field(default_factory=list)
    events: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    elapsed_s: float = 0.0

    @property
    def throughput(self) -> float:
        """Successful requests per second."""
        return len(self.latencies_s) / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def events_per_s(self) -> float:
        return self.events / self.elapsed_s if self.elapsed_s else 0.0

    def percentile_ms(self, q: float) -> float:
        """Latency in milliseconds, NaN without a success."""
        return percentile_ms(self.latencies_s, q)


def percentile_ms(times_s: Sequence[float], q: float) -> float:
    """In milliseconds, NaN of none."""
    return float(np.percentile(times_s, q)) * 1000 if times_s else float("nan")


def post(path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """A whole HTTP request, for `Target.requests`."""
    fields = {
        "host": "localhost",
        "content-type": "application/json",
        "content-length": str(len(body)),
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


async def closed_loop(
    target: Target, *, connections: int, duration_s: float = float("inf"), max_requests: int | None = None
) -> LoadResult:
    """Keep `connections` busy for `duration_s` seconds, or until `max_requests` have been sent."""
    result, turns = LoadResult(), itertools.cycle(target.requests)
    budget = itertools.count() if max_requests is None else iter(range(max_requests))
    started = time.perf_counter()

    async def keep_busy() -> None:
        client = _Client(target, result)
        while time.perf_counter() - started < duration_s and next(budget, None) is not None:
            await client.ask(next(turns), time.perf_counter())
        client.close()

    await asyncio.gather(*(keep_busy() for _ in range(connections)))
    result.elapsed_s = time.perf_counter() - started
    return result


async def open_loop(
    target: Target, *, rate: float, duration_s: float, max_connections: int = 512, seed: int = 0
) -> LoadResult:
    """Poisson arrivals at `rate` a second for `duration_s` seconds, each sent when it is due, on a free or a new connection."""
    result, turns = LoadResult(), itertools.cycle(target.requests)
    gaps = np.random.default_rng(seed).exponential(1 / rate, size=int(rate * duration_s))
    idle = [_Client(target, result) for _ in range(max_connections)]
    free = asyncio.Semaphore(max_connections)
    started = time.perf_counter()

    async def send(due: float) -> None:
        async with free:
            client = idle.pop()
            await client.ask(next(turns), due)
            idle.append(client)

    async with asyncio.TaskGroup() as arrivals:
        for due in started + np.cumsum(gaps):
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            arrivals.create_task(send(float(due)))
    result.elapsed_s = time.perf_counter() - started
    for client in idle:
        client.close()
    return result


class _Client(asyncio.Protocol):
    """One keep-alive connection, opened when first needed and again after an error."""

    def __init__(self, target: Target, result: LoadResult) -> None:
        self._target = target
        self._result = result
        self._transport: asyncio.Transport | None = None
        self._answered: asyncio.Future[int] | None = None
        self._begin()

    def _begin(self) -> None:
        self._head = bytearray()
        self._status = 0
        self._left: int | None = None  # bytes to come; None while chunked or unknown
        self._tail = b""
        self._marked = False

    async def ask(self, request: bytes, due: float) -> None:
        """Send it, wait for the whole answer, and note how it went."""
        self._begin()
        self._due = due
        self._answered = asyncio.get_running_loop().create_future()
        try:
            if self._transport is None:
                await asyncio.get_running_loop().create_connection(lambda: self, self._target.host, self._target.port)
            assert self._transport is not None
            self._transport.write(request)
            status = await self._answered
        except OSError as exc:
            self._note(type(exc).__name__)
            self.close()
            return
        if status == 200:
            now = time.perf_counter()
            self._result.latencies_s.append(now - due)
            self._result.answered_at.append(now)
        else:
            self._note(str(status))

    def _note(self, error: str) -> None:
        self._result.errors[error] = self._result.errors.get(error, 0) + 1

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(
                exc if isinstance(exc, OSError) else ConnectionResetError("closed before the answer was whole")
            )

    def data_received(self, data: bytes) -> None:
        if not self._status:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            data = self._parse_head(bytes(self._head), end)
        self._count(data)
        if self._left is not None:
            self._left -= len(data)
            over = self._left <= 0
        else:
            over = self._tail.endswith(_LAST_CHUNK)
        if over and self._answered is not None and not self._answered.done():
            self._answered.set_result(self._status)

    def _count(self, data: bytes) -> None:
        """Markers, those that come in two pieces too."""
        marker = self._target.marker
        found = data.count(marker)
        if self._tail:
            found += (self._tail[1 - len(marker) :] + data[: len(marker) - 1]).count(marker)
        self._tail = (self._tail + data)[-max(len(_LAST_CHUNK), len(marker) - 1) :]
        self._result.events += found
        if found and not self._marked:
            self._marked = True
            self._result.first_events_s.append(time.perf_counter() - self._due)

    def _parse_head(self, head: bytes, end: int) -> bytes:
        """Status and length; returns what of the body came with them."""
        self._status = int(head[9:12])
        fields = head[:end].lower()
        at = fields.find(b"content-length:")
        self._left = int(fields[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else None
        return head[end + 4 :]
