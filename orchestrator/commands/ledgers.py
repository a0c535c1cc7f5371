"""What the gateway's experts were asked, read back from its ledger as a trace for `switchyard simulate`.

    trace, experts = ledger_trace(None, hours=24.0)

Experts whose weights are elsewhere take no memory here and are left out; an expert that stands on another counts as that one. Not
here: recorded requests in files (`evals/simulation/traces.py`).
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import DataError

if TYPE_CHECKING:
    from evals.simulation.base import Trace
    from evals.simulation.traces import RecordedRequest
    from orchestrator.config import Config


def ledger_trace(config_path: Path | None, hours: float) -> tuple[Trace, tuple[str, ...]]:
    """Every attempt of the last so many hours, and the experts' names. Raises `ConfigError`, or `DataError` when there is none."""
    from evals.simulation.traces import make_trace
    from orchestrator.fleet.configfile import find_config, read_config

    path = find_config(config_path)
    asked = asyncio.run(_asked(read_config(path), path.parent, time.time() - hours * 3600))
    if not asked:
        raise DataError(f"the ledger has nobody who asked an expert with weights in the last {hours:g} hours")
    return make_trace(asked)


async def _asked(config: Config, base_dir: Path, since: float) -> list[RecordedRequest]:
    from evals.simulation.traces import RecordedRequest
    from orchestrator.service import make_ledger

    hosts = {spec.name: spec.host for spec in config.experts if config.by_name[spec.host].holds_weights}
    ledger = make_ledger(config, base_dir)
    await ledger.open()
    try:
        return [
            RecordedRequest(decision.created_at + attempt.began_s, hosts[attempt.expert], decision.session)
            async for decision in ledger.decisions(since=since)
            for attempt in decision.attempts
            if attempt.expert in hosts
        ]
    finally:
        await ledger.close()
