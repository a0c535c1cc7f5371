"""What experts may use of this machine's memory: what the file says, or a share of what is there.

    budget_bytes(config), asleep_budget_bytes(config)       # (4_000_000_000, 12_000_000_000)
    budget_bytes(config, node.memory_bytes)                 # of another machine, which has so much

Not here: who gets it (the scheduler), and what is free now (the engines).
"""

from __future__ import annotations

from collections.abc import Iterator

import psutil

from orchestrator.config import Config, ServedBase

DEFAULT_SHARE = 0.8


def budget_bytes(config: Config, total_bytes: int | None = None) -> int:
    """What resident experts may use together, in bytes."""
    if config.memory.budget_gb is not None:
        return int(config.memory.budget_gb * 1e9)
    return int(_total(total_bytes) * DEFAULT_SHARE)


def asleep_budget_bytes(config: Config, total_bytes: int | None = None) -> int:
    """What sleeping experts may keep together of the host's memory, in bytes.

    By default half of what those leave of it that are awake there: whoever sleeps has its `memory_gb` on a device.
    """
    if config.memory.asleep_gb is not None:
        return int(config.memory.asleep_gb * 1e9)
    residencies = [spec.residency for spec in config.experts if isinstance(spec, ServedBase)]
    declared = sum(int((each.memory_gb or 0.0) * 1e9) for each in residencies if not each.device)
    return max(0, _total(total_bytes) - min(declared, budget_bytes(config, total_bytes))) // 2


def _total(total_bytes: int | None) -> int:
    total: int = psutil.virtual_memory().total if total_bytes is None else total_bytes
    return total


def sleepless(config: Config) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Experts that are to sleep, and can't on this machine: `(location, what was expected)`. With `asleep_gb: 0` nobody is to."""
    budget = asleep_budget_bytes(config)
    if config.memory.asleep_gb == 0:
        return
    for i, spec in enumerate(config.experts):
        kept = spec.residency.asleep_bytes if isinstance(spec, ServedBase) else None
        if kept is not None and kept > budget:
            room = f"memory.asleep_gb has {budget / 1e9:.3g}{'' if config.memory.asleep_gb else ' by default'}"
            yield ("experts", i, "residency", "sleep"), f"it keeps up to {kept / 1e9:g} GB (`asleep_gb`), and {room}"
