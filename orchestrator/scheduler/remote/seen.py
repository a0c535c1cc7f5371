"""What gateways see of all experts, and what has changed since they saw it last: a large fleet is told whole once.

    changes = difference(before, after)             # None: other experts, or in another order; tell all of it
    updated(before, changes) == after

Pure. Not here: when it is told (`pushing.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.scheduler.base import Weighed
from orchestrator.scheduler.remote.wire import Changes, Snapshot


def difference(before: Snapshot, after: Snapshot) -> Changes | None:
    """What makes `after` of `before`."""
    if len(before.status) != len(after.status):
        return None
    status = {}
    for i, (was, now) in enumerate(zip(before.status, after.status, strict=True)):
        if was is now or was == now:
            continue
        if (was.expert, was.node) != (now.expert, now.node):
            return None
        status[i] = now
    return Changes(
        status,
        None if before.memory == after.memory else after.memory,
        _changed(before.weighed.waits_s, after.weighed.waits_s),
        _changed(before.weighed.imposed_s, after.weighed.imposed_s),
    )


def updated(before: Snapshot, changes: Changes) -> Snapshot:
    """Another one; the first stays as it was. Raises IndexError for changes of something else."""
    status = before.status
    if changes.status:
        rows = list(status)
        for i, now in changes.status.items():
            rows[i] = now
        status = tuple(rows)
    weighed = Weighed(
        _with(before.weighed.waits_s, changes.waits_s), _with(before.weighed.imposed_s, changes.imposed_s)
    )
    return Snapshot(status, changes.memory or before.memory, weighed)


def _changed(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float | None]:
    """None for what is not there any more."""
    changed: dict[str, float | None] = {name: value for name, value in after.items() if before.get(name) != value}
    changed |= dict.fromkeys(before.keys() - after.keys())
    return changed


def _with(before: dict[str, float], changes: Mapping[str, float | None]) -> dict[str, float]:
    if not changes:
        return before
    after = dict(before)
    for name, value in changes.items():
        if value is None:
            after.pop(name, None)
        else:
            after[name] = value
    return after
