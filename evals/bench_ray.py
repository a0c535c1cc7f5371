"""The gateway on Ray beside `engine: local`, Serve's default proxy and `@serve.multiplexed`, in one run.

    python -m evals.bench ray --seconds 2 --rounds 3
    python -m evals.bench ray --only local --only ray --rounds 5 --json

Contenders take turns, each started anew in every round, because machines drift: rates are medians over rounds, ratios are of one
round. Each has one core to itself, with HAProxy, the scheduler and Ray's own processes; the mock upstream and the load share
another. So two gateways share a core, and can't answer more than one: what they cost is seen, not what they gain. Every answer's
words are counted. Not here: what is compared (`contenders.py`).
"""

from __future__ import annotations

import http.client
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import msgspec
import uvloop

from evals.bench_gateway import CHUNK_INTERVAL_MS, CONTENDER_CORE, LOAD_CORE, NUM_QUESTIONS, PATH, mock_upstream
from evals.contenders import KEY, RAY_CONTENDERS, Server, Setting, free_port, launched, pin
from evals.load import LoadResult, Target, closed_loop, percentile_ms, post

HEADERS = {"authorization": f"Bearer {KEY}", "serve_multiplexed_model_id": "expert-1"}
LOCAL = "local"
STARTED = (LOCAL, "ray")
"""Whose start is measured, on all cores."""
UNROUTED = ("bare", "multiplexed")
"""They make no decisions."""
ANSWERED, STREAMED, START = "answers", "chunks", "start"
WORD = b"word "
NUM_WORDS = {ANSWERED: 40, STREAMED: 198}
"""In an answer of the mock upstream."""
NUM_PROBED = 10
RECORDED_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement. rate: answers a second, or chunks with content. first_ms: until an answer's first words."""

    rate: float
    p50_ms: float
    p99_ms: float
    first_ms: float
    cpu_ms: float
    errors: int


@dataclass(frozen=True, slots=True)
class Row:
    """One contender under one load: medians over rounds, and between which rates.

    load: `answers`, `chunks` (streams of 200, a millisecond apart) or `start`: milliseconds from the command to the first answer.
    rate: a second. of_local, added_ms: its rate, and its p50, against those of `engine: local` in the same round; NaN without it.
    first_ms: median until an answer's first words. cpu_ms: per answer, of all processes. errors: in all rounds, and words missing.
    """

    contender: str
    load: str
    connections: int
    rate: float
    lowest: float
    highest: float
    of_local: float
    p50_ms: float
    added_ms: float
    p99_ms: float
    first_ms: float
    cpu_ms: float
    errors: int


Samples = dict[tuple[str, str, int], list[Sample]]
"""By contender, load and connections; one of each round."""


def bench_ray(
    *,
    seconds: float = 2.0,
    connections: Sequence[int] = (1, 16, 64),
    requests: int | None = None,
    rounds: int = 3,
    only: Sequence[str] = (),
) -> list[Row]:
    """A row for each contender that can run here and each load. requests: that end a measurement before its `seconds` are over.

    Raises RuntimeError when a contender doesn't start, or doesn't answer what the upstream does.
    """
    names = [name for name, each in RAY_CONTENDERS.items() if each.available(None) and (not only or name in only)]
    samples: Samples = defaultdict(list)
    with mock_upstream("--interval-ms", str(CHUNK_INTERVAL_MS)) as upstream_port:
        pin(0, LOAD_CORE)
        for _ in range(rounds):
            for name in names:
                if name in STARTED:
                    samples[name, START, 0].append(_start(name, upstream_port))
                with _running(name, upstream_port, CONTENDER_CORE) as server:
                    _probe(server, is_gateway=name not in UNROUTED)
                    _measure(server, ANSWERED, 16, 1.0, requests)  # warm up
                    for load in (ANSWERED, STREAMED):
                        for number in connections:
                            samples[name, load, number].append(_measure(server, load, number, seconds, requests))
    return summarise(samples)


def summarise(samples: Samples) -> list[Row]:
    """A row for each key."""
    return [_row(*key, of_rounds, samples.get((LOCAL, *key[1:]), [])) for key, of_rounds in samples.items()]


def _row(contender: str, load: str, connections: int, samples: list[Sample], local: list[Sample]) -> Row:
    pairs = list(zip(samples, local, strict=False))
    return Row(
        contender=contender,
        load=load,
        connections=connections,
        rate=median(each.rate for each in samples),
        lowest=min(each.rate for each in samples),
        highest=max(each.rate for each in samples),
        of_local=median(own.rate / other.rate for own, other in pairs) if local else math.nan,
        p50_ms=median(each.p50_ms for each in samples),
        added_ms=median(own.p50_ms - other.p50_ms for own, other in pairs) if local else math.nan,
        p99_ms=median(each.p99_ms for each in samples),
        first_ms=median(each.first_ms for each in samples),
        cpu_ms=median(each.cpu_ms for each in samples),
        errors=sum(each.errors for each in samples),
    )


@contextmanager
def _running(name: str, upstream_port: int, core: int | None) -> Iterator[Server]:
    """Ray's last processes still write to the folder while it is removed."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        launched(RAY_CONTENDERS[name], Setting(free_port(), upstream_port, Path(folder)), core=core) as server,
    ):
        yield server


def _start(name: str, upstream_port: int) -> Sample:
    began = time.perf_counter()
    with _running(name, upstream_port, core=None) as server:
        _ask(http.client.HTTPConnection("127.0.0.1", server.port), "Are you there?", stream=False)
        took_ms = (time.perf_counter() - began) * 1000
        return Sample(1000 / took_ms, took_ms, took_ms, took_ms, server.cpu_s() * 1000, 0)


def _measure(server: Server, load: str, connections: int, seconds: float, requests: int | None) -> Sample:
    before = server.cpu_s()
    target = Target("127.0.0.1", server.port, _questions(stream=load == STREAMED), marker=WORD)
    result = uvloop.run(closed_loop(target, connections=connections, duration_s=seconds, max_requests=requests))
    cpu_s = server.cpu_s() - before
    return Sample(
        rate=result.events_per_s if load == STREAMED else result.throughput,
        p50_ms=result.percentile_ms(50),
        p99_ms=result.percentile_ms(99),
        first_ms=percentile_ms(result.first_events_s, 50),
        cpu_ms=cpu_s * 1000 / max(1, len(result.latencies_s)),
        errors=sum(result.errors.values()) + _num_missing(result, load),
    )


def _num_missing(result: LoadResult, load: str) -> int:
    """Words too few or too many, where every answer was whole."""
    return 0 if result.errors else abs(len(result.latencies_s) * NUM_WORDS[load] - result.events)


def _questions(*, stream: bool) -> list[bytes]:
    return [post(PATH, _body(f"A word about number {i}.", stream), HEADERS) for i in range(NUM_QUESTIONS)]


def _body(question: str, stream: bool) -> bytes:
    messages = [{"role": "user", "content": question}]
    return msgspec.json.encode({"model": "auto", "stream": stream, "messages": messages})


def _probe(server: Server, *, is_gateway: bool) -> None:
    """That answers are the upstream's, and, of a gateway, decisions made one by one and recorded. Raises RuntimeError."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30.0)
    ids = {_ask(connection, f"Probe {i}", stream=bool(i % 2)) for i in range(NUM_PROBED)}
    if is_gateway and (None in ids or len(ids) != NUM_PROBED):
        raise RuntimeError(f"{NUM_PROBED} answers came with the decisions {ids}")
    for decision_id in ids - {None}:
        _await_record(connection, f"/v1/decisions/{decision_id}")
    connection.close()


def _ask(connection: http.client.HTTPConnection, question: str, *, stream: bool) -> str | None:
    """The decision's id, if there is one. Raises RuntimeError for anything but the upstream's answer."""
    connection.request("POST", PATH, _body(question, stream), {"content-type": "application/json", **HEADERS})
    response = connection.getresponse()
    said = response.read()
    if response.status != 200 or said.count(WORD) != NUM_WORDS[STREAMED if stream else ANSWERED]:
        raise RuntimeError(f"{response.status}: {said[:500]!r}")
    return response.getheader("x-switchyard-decision-id")


def _await_record(connection: http.client.HTTPConnection, path: str) -> None:
    """Decisions are written in batches."""
    give_up_at = time.monotonic() + RECORDED_WITHIN_S
    while time.monotonic() < give_up_at:
        connection.request("GET", path, headers=HEADERS)
        response = connection.getresponse()
        response.read()
        if response.status == 200:
            return
        time.sleep(0.05)
    raise RuntimeError(f"{path} is not recorded")
