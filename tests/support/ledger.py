"""A ledger, and a decision to record in it.

async with opened(url) as ledger:
    ledger.record(decision("sw-1", expert="b"))
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from orchestrator.ledger.sql import SQLLedger
from orchestrator.types import Attempt, Decision


def decision(id_: str = "sw-1", **changes: Any) -> Decision:
    made = Decision(
        id=id_, created_at=time.time(), kind="chat", model="auto", policy="auto", text="What is 2 + 2?", key_id="anonymous",
        scores={"a": 0.7, "b": 0.2}, plan=("a", "b"), expert="a", waits_s={"a": 0.0},
        attempts=[Attempt("a", "ok", 0.0, 0.1)], router="default", propensity=0.95, cost_usd=0.001, status=200,
    )  # fmt: skip
    for name, value in changes.items():
        setattr(made, name, value)
    return made


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[SQLLedger]:
    ledger = SQLLedger(url)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()
