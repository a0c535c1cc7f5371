"""`python -m evals.bench joint`: the scheduler chooses the expert, beside the same router followed by the same scheduler.

    rows = list(bench_joint(Path("data/outcomes"), claim_encoder(), only=["MMLU-Pro"], seeds=4))
    next(row for row in rows if row.mu == 0.003).p99_share       # of the p99 of routing first

Recorded outcomes through the simulator (`evals/simulation/replay.py`): 6 s to load an expert, batches of eight in 2 s, nothing in
memory at first. Arrivals and queries are the same for every policy. Each seed draws others, and odd seeds replay the half of the
queries that routers of even ones are fitted on. Not here: other policies, which `switchyard simulate --outcomes` prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evals.markdown import markdown_table
from evals.protocols import MID_POOL, TWELVE
from evals.simulation import measures
from evals.simulation.base import Floats, Ints, Run, Setting
from evals.simulation.registry import OURS, make_rules
from evals.simulation.replay import FOLDS, ROUTE_THEN_SCHEDULE, Replay, Replayed, replay, replays
from evals.simulation.running import simulate
from evals.simulation.workloads import Arrivals, Workload
from evals.sweeps.datasets import DataSet
from routers.base import Encoder, FloatArray
from routers.training.evaluation import paired

RATES = (3.0, 5.0)
MUS = (0.0003, 0.001, 0.003, 0.01, 0.03)
SWAP_S, BATCH, BATCH_S = 6.0, 8, 2.0


@dataclass(frozen=True, slots=True)
class Case:
    """What is replayed, on how many places. experts: a fleet, by default all. group_run: as of `replay`."""

    name: str
    file: str
    slots: int
    experts: tuple[str, ...] = ()
    router: str = "auto"
    arrivals: Arrivals = "poisson"
    group_run: int | None = None


CASES = (
    Case("MMLU-Pro", "mmlupro28-dev", 2, MID_POOL),
    Case("ZeroEval", "zeroeval-dev", 3, TWELVE),
    Case("ZeroEval, hierarchical", "zeroeval-dev", 3, TWELVE, router="hierarchical"),
    Case("RouterDC", "routerdc7-train", 3),
    Case("LLMRouter", "llmrouter9-train", 4),
    Case("MMLU-Pro in bursts", "mmlupro28-dev", 3, MID_POOL, arrivals="bursty"),
    Case("MMLU-Pro by subject", "mmlupro28-dev", 2, MID_POOL, group_run=300),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One policy on one workload at one rate: means over the seeds.

    p99_share: of the p99 of routing first, with the worst seed's in `share_most`. gain: in reward x 100 over routing first, with
    its paired 95% interval over queries.
    """

    workload: str
    rate: float
    policy: str
    mu: float
    p99_s: float
    p99_share: float
    share_most: float
    reward: float
    gain: float
    low: float
    high: float
    swaps_per_100: float
    served_per_s: float


@dataclass(frozen=True, slots=True)
class _Measured:
    """One run. query: (n,) numbers, the same for the same query of whatever fold. rewards: (n,)."""

    row: measures.Row
    query: Ints
    rewards: Floats


def bench_joint(
    data: Path,
    encoder: Encoder,
    *,
    only: Sequence[str] = (),
    rates: Sequence[float] = RATES,
    mus: Sequence[float] = MUS,
    seeds: int = 4,
    requests: int = 4000,
) -> Iterator[Row]:
    """data: the folder of outcome files; a case whose file isn't there is left out.

    only: names of cases. Raises ValueError for one that there isn't, or when none is left.
    """
    if unknown := [name for name in only if name not in {case.name for case in CASES}]:
        raise ValueError(f"no workload '{unknown[0]}', expected some of {', '.join(case.name for case in CASES)}")
    cases = [case for case in CASES if (not only or case.name in only) and _path(data, case).exists()]
    if not cases:
        raise ValueError(f"{data}: expected the outcomes of one of {', '.join(case.name for case in CASES)}")
    for case in cases:
        found = replays(DataSet(case.name, (_path(data, case),), folds=FOLDS), case.router, encoder, case.experts)
        for rate in rates:
            workload = Workload(requests=requests, rate=rate, arrivals=case.arrivals)
            yield from _compared(case, found, workload, mus, seeds)


def _path(data: Path, case: Case) -> Path:
    return data / f"{case.file}.jsonl.gz"


def _compared(
    case: Case, found: Sequence[Replay], workload: Workload, mus: Sequence[float], seeds: int
) -> Iterator[Row]:
    setting = Setting.even(len(found[0].experts), case.slots, SWAP_S, BATCH, BATCH_S)

    def measured(mu: float | None) -> list[_Measured]:
        runs = []
        for seed in range(seeds):
            arrivals = workload.trace(len(setting.experts), seed)
            replayed = replay(found, arrivals, seed, mu or 0.0, case.group_run)
            trace = replayed.apart if mu is None else replayed.joint
            runs.append(
                _measure(replayed, simulate(trace, setting, make_rules(OURS, setting, trace)), seed % len(found))
            )
        return runs

    first = measured(None)
    yield _row(case, workload, ROUTE_THEN_SCHEDULE, 0.0, first, first)
    for mu in mus:
        yield _row(case, workload, OURS, mu, measured(mu), first)


def _measure(replayed: Replayed, run: Run, fold: int) -> _Measured:
    rewards = replayed.earned(run)
    return _Measured(measures.measure(OURS, [run], [rewards]), replayed.asked * FOLDS + fold, rewards)


def _row(
    case: Case, workload: Workload, policy: str, mu: float, runs: Sequence[_Measured], first: Sequence[_Measured]
) -> Row:
    shares = [run.row.latency_s.p99 / other.row.latency_s.p99 for run, other in zip(runs, first, strict=True)]
    gain = paired(_by_query(runs), _by_query(first))
    return Row(
        workload=case.name,
        rate=workload.rate,
        policy=policy,
        mu=mu,
        p99_s=float(np.mean([run.row.latency_s.p99 for run in runs])),
        p99_share=float(np.mean(shares)),
        share_most=max(shares),
        reward=100.0 * float(np.mean([run.rewards.mean() for run in runs])),
        gain=100.0 * gain.mean,
        low=100.0 * gain.low,
        high=100.0 * gain.high,
        swaps_per_100=float(np.mean([run.row.swaps_per_100 for run in runs])),
        served_per_s=float(np.mean([run.row.served_per_s for run in runs])),
    )


def _by_query(runs: Sequence[_Measured]) -> FloatArray:
    """What each query earned in all its requests, scaled so that the mean over queries is that over requests."""
    _, numbers = np.unique(np.concatenate([run.query for run in runs]), return_inverse=True)
    earned = np.bincount(numbers, weights=np.concatenate([run.rewards for run in runs]))
    scaled: FloatArray = (earned * len(earned) / len(numbers)).astype(np.float32)
    return scaled


def joint_table(rows: Sequence[Row]) -> str:
    """Markdown: a line for each policy on each workload at each rate."""
    header = ["workload", "rate", "policy", "mu", "p99, s", "of routing first", "reward", "gain", "swaps per 100"]
    return markdown_table(header, [_cells(row) for row in rows]) + "\n"


def _cells(row: Row) -> list[str]:
    is_first = row.policy == ROUTE_THEN_SCHEDULE
    gain = "" if is_first else f"{row.gain:+.1f} ({row.low:.1f} to {row.high:.1f})"
    return [
        row.workload,
        f"{row.rate:g}/s",
        row.policy,
        "" if is_first else f"{row.mu:g}",
        f"{row.p99_s:.1f}",
        "" if is_first else f"{row.p99_share:.2f}",
        f"{row.reward:.1f}",
        gain,
        f"{row.swaps_per_100:.2f}",
    ]
