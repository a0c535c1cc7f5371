"""`python -m evals.bench ledger`: how many decisions a second one ledger takes, from one gateway or several.

    for row in bench_ledger("postgresql://switchyard@db/switchyard", gateways=(1, 4)):
        row.decisions_per_s

Decisions of ten candidates and a question are recorded as fast as they can be, and timed until all are stored.
Gateways are ledgers of one process, which have a thread each: more of them share this process's processor time. They stay in the
database. Not here: reading.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.gateway.requests import new_decision_id
from orchestrator.ledger.sql import SQLLedger
from orchestrator.types import Decision

CANDIDATES = [f"expert-{number}" for number in range(10)]
QUESTION = "What is the least that a queue of ten thousand could take? " * 4


@dataclass(frozen=True, slots=True)
class Row:
    """cpu_us: of this process, for a decision."""

    ledger: str
    gateways: int
    decisions: int
    decisions_per_s: float
    cpu_us: float


def bench_ledger(url: str | None = None, gateways: Sequence[int] = (1, 4), decisions: int = 20_000) -> Iterator[Row]:
    """A row for each number of gateways. url: of a database; by default SQLite's in a file of its own."""
    with tempfile.TemporaryDirectory() as folder:
        for number in gateways:
            yield asyncio.run(_measured(url or f"sqlite:///{Path(folder) / 'ledger.db'}", number, decisions))


async def _measured(url: str, gateways: int, decisions: int) -> Row:
    ledgers = [SQLLedger(url) for _ in range(gateways)]
    for ledger in ledgers:
        await ledger.open()
    records = [_decision() for _ in range(decisions)]
    began, cpu_before = time.perf_counter(), time.process_time()
    for number, record in enumerate(records):
        ledgers[number % gateways].record(record)
    await asyncio.gather(*(ledger.close() for ledger in ledgers))  # which stores what it has
    elapsed_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_before
    if lost := sum(ledger.lost for ledger in ledgers):
        raise RuntimeError(f"{lost} decisions were not stored")
    return Row(url.partition(":")[0], gateways, decisions, decisions / elapsed_s, 1e6 * cpu_s / decisions)


def _decision() -> Decision:
    scores = dict.fromkeys(CANDIDATES, 0.5)
    return Decision(
        id=new_decision_id(),
        created_at=time.time(),
        kind="chat",
        model="auto",
        policy="auto",
        text=QUESTION,
        key_id="benchmark",
        router="default",
        scores=scores,
        utilities=scores,
        plan=tuple(CANDIDATES),
        propensities=scores,
        expert=CANDIDATES[0],
        waits_s=scores,
        status=200,
    )
