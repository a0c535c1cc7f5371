"""A file of requests answered into another file: what `switchyard batch` does.

    async with running(config_path) as service:
        report = await answer_file(service, Path("in.jsonl"), Path("out.jsonl"))

Interrupted in any way, it goes on where it was when it is run again, and asks nobody twice: what was answered is in
`out.jsonl.journal`. Lines that failed are tried again. The output, in the order of the input, appears whole. Not here: the terminal
(`orchestrator/commands/batch.py`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.bulk.lines import MAX_FAULTS, Limits, Scanned, Source, scan
from orchestrator.bulk.run import Run, Watch
from orchestrator.errors import DataError
from orchestrator.labelling.journal import Journal
from orchestrator.scheduler.summary import by_expert
from orchestrator.service import Service
from orchestrator.types import ANONYMOUS
from routers.data.outcomes import replaced

NO_DEADLINE_S = 30 * 86_400.0
PATIENCE_S = 120.0
"""How long lines wait for an expert that can't be loaded, or is over its limits, before they fail until the next run."""
MAX_REQUESTS = 100_000_000
TOLD = 20
"""Of the faults of a file."""


@dataclass(frozen=True, slots=True)
class Report:
    """asked: lines that were done in this run. loads: how often each expert was loaded meanwhile, on all nodes together."""

    out: Path
    total: int
    completed: int
    failed: int
    asked: int
    cost_usd: float
    seconds: float
    loads: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        names = ("total", "completed", "failed", "asked", "cost_usd", "seconds", "loads")
        return {"out": str(self.out), **{name: getattr(self, name) for name in names}}


async def answer_file(
    service: Service,
    source: Path,
    out: Path,
    watch: Watch = lambda done, total: None,
    places: Mapping[str, int] | None = None,
    patience_s: float = PATIENCE_S,
) -> Report:
    """places: how many of the lines for policies an expert may have (`sharing.py`), of those that may not have any number.

    Raises `DataError`, before anybody is asked, for files that can't be used, and `LabelError` for their journal.
    """
    began, loaded_before = time.monotonic(), _loads(service)
    kept = out.with_name(f"{out.name}.journal")
    _check(source, out, kept)
    scanned = _scan(source)
    bulk = service.bulk
    with Journal.open(kept) as journal, Source.open(source) as opened:
        run = Run(
            scanned.lines,
            opened,
            journal,
            bulk.answerer,
            caller=ANONYMOUS,
            deadline=began + NO_DEADLINE_S,
            patience_s=patience_s,
            keeps_failures=False,
            watch=watch,
        )
        await run.look_back()
        if places:
            _check_names(places, service)
            await run.share_out(places)
        await run.work(bulk.floor)
        _write(out, run)
    counts = run.counts
    loads = {host: count - loaded_before.get(host, 0) for host, count in _loads(service).items()}
    loads = {host: count for host, count in loads.items() if count}
    seconds = time.monotonic() - began
    return Report(out, counts.total, counts.completed, counts.failed, run.num_asked, run.spent.cost_usd, seconds, loads)


def _loads(service: Service) -> dict[str, int]:
    """Of each host of weights, since its scheduler began."""
    statuses = by_expert(service.scheduler.status())
    return {name: statuses[name].loads for name, spec in service.fleet.specs.items() if spec.host == name in statuses}


def _check(source: Path, out: Path, kept: Path) -> None:
    if out.is_dir() or not out.parent.is_dir():
        raise DataError(f"{out}: expected a file to write, in a folder that is there")
    if out.resolve() == source.resolve():
        raise DataError(f"{out}: these are the requests; expected another file to write")
    if out.exists() and not kept.exists():
        raise DataError(
            f"{out}: is there and has no {kept.name}; expected a new file, or one written by `switchyard batch`"
        )


def _check_names(places: Mapping[str, int], service: Service) -> None:
    known = service.fleet.config.by_name
    if unknown := sorted(places.keys() - known.keys()):
        raise DataError(f"there is no expert '{unknown[0]}'; expected one of {', '.join(known)}")


def _write(out: Path, run: Run) -> None:
    try:
        with replaced(out) as file:
            file.writelines(result.text for result in run.results())
    except OSError as exc:
        raise DataError(f"{out}: can't be written: {exc.strerror}") from exc


def _scan(source: Path) -> Scanned:
    """Raises `DataError` with what is wrong, line by line."""
    try:
        scanned = scan(source, Limits(requests=MAX_REQUESTS))
    except OSError as exc:
        raise DataError(f"{source}: can't be read: {exc.strerror}") from exc
    if not scanned.faults:
        return scanned
    told = [
        f"{source}:{fault.line}: {fault.message}" if fault.line else f"{source}: {fault.message}"
        for fault in scanned.faults
    ]
    more = len(told) - TOLD
    if more > 0:
        at_least = "at least " if len(told) >= MAX_FAULTS else ""
        told[TOLD:] = [f"and {at_least}{more} more"]
    raise DataError("\n".join(told))
