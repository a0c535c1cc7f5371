"""What another version of `experts.yaml` changes, in the log's words.

    difference(before, after)                     # "added coder; changed policy auto; set memory.budget_gb"
    read_at_start(config)["gateway.port"]         # 8700; of these a change takes effect at the next start

Not here: the change itself (`orchestrator/service.py`, `orchestrator/fleet/scheduling.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.config import Config
from orchestrator.fleet.snapshot import Fleet


def read_at_start(config: Config) -> dict[str, object]:
    """The settings that a reload does not change, by name."""
    gateway = config.gateway
    return {
        "gateway.host": gateway.host,
        "gateway.port": gateway.port,
        "gateway.keys_file": gateway.keys_file,
        "engine": config.engine,
        "memory.prefetch": config.memory.prefetch,
        "ledger": config.ledger,
        "batches.folder": config.batches.folder,
        "ray": config.ray,
    }


def _read_again(config: Config) -> dict[str, object]:
    """The settings besides experts, policies and routers that a reload changes, by name."""
    sections = {"gateway": config.gateway, "memory": config.memory, "batches": config.batches}
    settings: dict[str, object] = {
        f"{name}.{key}": value for name, section in sections.items() for key, value in section
    }
    settings |= {f"placement.{expert}": nodes for expert, nodes in config.placement.items()}
    return {name: value for name, value in settings.items() if name not in read_at_start(config)}


def difference(before: Fleet, after: Fleet) -> str:
    """What a reload did, in a line."""
    added = sorted(after.specs.keys() - before.specs.keys())
    removed = sorted(before.specs.keys() - after.specs.keys())
    changed = sorted(
        name for name in after.specs.keys() & before.specs.keys() if after.specs[name] != before.specs[name]
    )
    swapped = sorted(
        name for name, policy in after.policies.items() if name in before.policies and policy != before.policies[name]
    )
    routers = _changed(before.config.routers, after.config.routers)
    settings = _changed(_read_again(before.config), _read_again(after.config))
    parts = [
        f"{verb} {', '.join(names)}"
        for verb, names in (
            ("added", added),
            ("changed", changed),
            ("removed", removed),
            ("changed policy", swapped),
            ("changed router", routers),
            ("set", settings),
        )
        if names
    ]
    return "; ".join(parts) or "nothing that is read again changed"


def _changed(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """The names that stand for something else, or for nothing any more."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
