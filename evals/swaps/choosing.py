"""Which expert answers and what is in memory, on real models: decided together, or by the router first and the scheduler then.

    rows = bench_choice(data, encoder, requests=400, rate=4.0, mus=(0.001, 0.003))

Eight real models stand in for eight experts whose rewards on every query are on record (`evals/simulation/replay.py`): loads, waits
and answers are real, the reward of an answer is what the expert in whose place the model stands earned on that query. The router is
fitted on queries that are not asked. An expert that fails is not followed by another. Not here: the same in simulation
(`evals/bench_joint.py`).
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evals.protocols import MID_POOL
from evals.simulation.registry import OURS
from evals.simulation.replay import FOLDS, ROUTE_THEN_SCHEDULE, Replayed, replay, replays
from evals.simulation.workloads import Workload
from evals.swaps.fleet import COPIES, write_fleet
from evals.swaps.running import MAX_CHARACTERS, PATIENCE_S, QUERIES, body_of, loads_of, percentiles_s
from evals.sweeps.datasets import DataSet
from orchestrator.errors import ExpertError, SwitchyardError
from orchestrator.scheduler.base import Lease, LeaseOutcome, LeaseRequest
from orchestrator.service import Service, running
from orchestrator.types import Call
from routers.base import Encoder
from routers.policy import Choice


@dataclass(frozen=True, slots=True)
class Row:
    """reward: x 100, mean over the requests that were answered. The rest as of `running.Row`."""

    policy: str
    mu: float
    requests: int
    failed: int
    swaps: int
    total_s: float
    latency_p50_s: float
    latency_p99_s: float
    reward: float | None


def bench_choice(
    data: Path, encoder: Encoder, *, requests: int, rate: float, mus: Sequence[float], seed: int = 0
) -> Iterator[Row]:
    """data: a folder of outcome files. rate: arrivals per second. Raises `PullError` when a model can't be had."""
    experts = MID_POOL[: 2 * COPIES]
    found = replays(DataSet("MMLU-Pro", (data / QUERIES,), folds=FOLDS), "auto", encoder, experts)
    arrivals = Workload(requests=requests, rate=rate).trace(len(experts), seed)
    with tempfile.TemporaryDirectory(prefix="switchyard-swaps-") as folder:
        config = write_fleet(Path(folder))
        for mu in (None, *mus):
            yield asyncio.run(ask_for_rewards(config, replay(found, arrivals, seed, mu or 0.0), mu))


async def ask_for_rewards(config: Path, asked: Replayed, mu: float | None) -> Row:
    """asked: of as many experts as are configured, in that order. mu: None means that the router chooses alone."""
    async with running(config) as service:
        names = list(service.fleet.specs)
        trace = asked.joint if mu is not None else asked.apart
        began = time.monotonic()
        answers = await asyncio.gather(
            *(
                _answered(service, str(number), _candidates(asked, number, names, mu), mu or 0.0, text, began + at_s)
                for number, (text, at_s) in enumerate(zip(_texts(asked), trace.at_s.tolist(), strict=True))
            )
        )
        total_s = time.monotonic() - began
        rewards = [
            asked.source.rewards[query, names.index(name)]
            for query, (name, _) in zip(asked.asked, answers, strict=True)
            if name is not None
        ]
        p50, p99 = percentiles_s(np.array([latency_s for _, latency_s in answers]))
        policy, failed = ROUTE_THEN_SCHEDULE if mu is None else OURS, len(answers) - len(rewards)
        reward = 100 * float(np.mean(rewards)) if rewards else None
        return Row(policy, mu or 0.0, len(answers), failed, loads_of(service), total_s, p50, p99, reward)


def _texts(asked: Replayed) -> list[str]:
    return [asked.source.texts[query][:MAX_CHARACTERS] for query in asked.asked.tolist()]


def _candidates(asked: Replayed, number: int, names: Sequence[str], mu: float | None) -> tuple[Choice, ...]:
    """Best first; the best alone when the router chooses alone."""
    scores = asked.source.scores[asked.asked[number]]
    ranking = [Choice(names[i], float(scores[i])) for i in np.argsort(-scores) if not np.isnan(scores[i])]
    return tuple(ranking if mu is not None else ranking[:1])


async def _answered(
    service: Service, request_id: str, candidates: tuple[Choice, ...], mu: float, text: str, at: float
) -> tuple[str | None, float]:
    """Who answered, and the seconds from arrival to the answer's end; None and NaN when nobody did."""
    await asyncio.sleep(at - time.monotonic())
    try:
        lease = await service.scheduler.acquire(LeaseRequest(request_id, candidates, mu, at + PATIENCE_S))
        await _answer(service, lease, text, at + PATIENCE_S)
    except SwitchyardError:
        return None, np.nan
    return lease.expert, time.monotonic() - at


async def _answer(service: Service, lease: Lease, text: str, deadline: float) -> None:
    """Under the lease, which is given back whatever comes of it."""
    leased, ok = time.monotonic(), None
    try:
        await service.fleet.experts[lease.expert].answer(
            Call("completion", body_of(lease.expert, text), deadline, lease.endpoint)
        )
        ok = True
    except ExpertError:
        ok = False
        raise
    finally:
        service.scheduler.release(lease, LeaseOutcome(ok=ok, duration_s=time.monotonic() - leased))
