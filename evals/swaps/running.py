"""Real queries to eight real models, two of which fit into memory: as requests under several policies, and as one batch.

    rows = bench_swaps(data, requests=400, rate=4.0, policies=("switchyard", "lru", "fifo"))

Every policy has the same queries at the same moments, one after the other in one run, and starts with nothing in memory; the same
state machine serves them all (`orchestrator/scheduler/`), with each one's rules. Requests go through the whole pipeline, the
ledger included. Not here: the models (`fleet.py`), what the rules are (`evals/simulation/contenders/`), requests that several
experts could answer (`choosing.py`).
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from evals.simulation.base import Floats, Setting, Trace
from evals.simulation.measures import percentile_s
from evals.simulation.registry import make_rules
from evals.simulation.workloads import Workload
from evals.swaps.fleet import COPIES, write_fleet
from orchestrator.bulk.files import answer_file
from orchestrator.errors import SwitchyardError
from orchestrator.fleet.configfile import load_config
from orchestrator.gateway.requests import make_query
from orchestrator.service import Service, running
from routers.data.outcomes import read_outcomes

QUERIES = "mmlupro28-dev.jsonl.gz"
MAX_CHARACTERS = 900
MAX_TOKENS = 8
PATIENCE_S = 3600.0
START_UP_S = 0.3
"""From the service's start to the first arrival, so that a policy which knows the arrivals can be told them beforehand."""
BULK = "batch"


@dataclass(frozen=True, slots=True)
class Row:
    """swaps: loads. total_s: from the first arrival to the last answer.

    Latencies run from arrival to the answer's end, and a request without an answer takes forever. The batch has none.
    """

    policy: str
    requests: int
    failed: int
    swaps: int
    total_s: float
    latency_p50_s: float | None
    latency_p99_s: float | None


def bench_swaps(data: Path, *, requests: int, rate: float, policies: Sequence[str], seed: int = 0) -> Iterator[Row]:
    """data: a folder of outcome files, whose queries are asked. rate: arrivals per second.

    The last row is the same queries as one batch. Raises `PullError` when a model can't be had, `OutcomeError` for the data.
    """
    texts = _texts(data / QUERIES, requests)
    with tempfile.TemporaryDirectory(prefix="switchyard-swaps-") as folder:
        config = write_fleet(Path(folder))
        trace = Workload(requests=requests, rate=rate, zipf=1.0).trace(2 * COPIES, seed)
        for policy in policies:
            yield asyncio.run(ask_under(config, policy, texts, trace))
        yield asyncio.run(ask_as_batch(config, texts, trace))


def _texts(path: Path, count: int) -> list[str]:
    texts = (outcome.query for outcome in read_outcomes(path))
    return list(islice((text for text in texts if len(text) <= MAX_CHARACTERS), count))


async def ask_under(config: Path, policy: str, texts: Sequence[str], trace: Trace) -> Row:
    """texts: one for each request of the trace, whose experts are numbered as in the configuration."""
    experts = [expert.name for expert in load_config(config).experts]
    began = time.monotonic() + START_UP_S
    rules = make_rules(policy, Setting.even(experts), replace(trace, at_s=began + trace.at_s))
    async with running(config, rules=rules) as service:
        began = max(began, time.monotonic())
        asking = (
            _asked(service, experts[expert], text, began + at_s)
            for text, expert, at_s in zip(texts, trace.expert.tolist(), trace.at_s.tolist(), strict=True)
        )
        latency_s = np.array(await asyncio.gather(*asking))
        total_s = time.monotonic() - began
        failed = int(np.isnan(latency_s).sum())
        return Row(policy, len(texts), failed, loads_of(service), total_s, *percentiles_s(latency_s))


async def _asked(service: Service, expert: str, text: str, at: float) -> float:
    """Seconds from arrival to the answer's end; NaN when there was none."""
    await asyncio.sleep(at - time.monotonic())
    query = make_query("completion", body_of(expert, text), received_at=time.monotonic(), timeout_s=PATIENCE_S)
    try:
        await service.pipeline.answer(query)
    except SwitchyardError:
        return np.nan
    return time.monotonic() - at


async def ask_as_batch(config: Path, texts: Sequence[str], trace: Trace) -> Row:
    """The same requests, all at once."""
    async with running(config) as service:
        experts = list(service.fleet.specs)
        lines = [
            {
                "custom_id": str(number),
                "method": "POST",
                "url": "/v1/completions",
                "body": body_of(experts[expert], text),
            }
            for number, (text, expert) in enumerate(zip(texts, trace.expert.tolist(), strict=True))
        ]
        requests = config.parent / "requests.jsonl"
        requests.write_text("".join(json.dumps(line) + "\n" for line in lines))
        began = time.monotonic()
        report = await answer_file(service, requests, config.parent / "answers.jsonl")
        return Row(BULK, report.total, report.failed, loads_of(service), time.monotonic() - began, None, None)


def body_of(expert: str, text: str) -> dict[str, object]:
    return {"model": expert, "prompt": text, "max_tokens": MAX_TOKENS, "temperature": 0}


def percentiles_s(latency_s: Floats) -> tuple[float, float]:
    """The p50 and the p99."""
    return percentile_s(latency_s, 50), percentile_s(latency_s, 99)


def loads_of(service: Service) -> int:
    return sum(status.loads for status in service.scheduler.status())
