"""Every policy by name: `make_rules("switchyard", setting, trace)`.

An entry is a function that imports its module and makes the rules for one run; see `base.Factory`. The rules themselves are in
`orchestrator/scheduler/rules.py` and in `contenders/`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from evals.simulation.base import Factory, Setting, Trace

if TYPE_CHECKING:
    from orchestrator.scheduler.rules import Rules

OURS = "switchyard"


def _switchyard(setting: Setting, trace: Trace) -> Rules:
    from orchestrator.scheduler.rules import SwitchyardRules

    return SwitchyardRules()


def _contender(module: str) -> Factory:
    def make(setting: Setting, trace: Trace) -> Rules:
        rules: Rules = import_module(f"evals.simulation.contenders.{module}").make(setting, trace)
        return rules

    return make


REFERENCE = "belady"
"""Knows what will come, and is no policy that anybody could run."""

CONTENDERS = (
    "fifo",
    "lru",
    "llama_swap",
    "ollama",
    "ray_serve",
    "coserve",
    "qlm",
    "deadline",
    "exhaustive",
    "longest_queue",
    "quantum",
)
"""Names of modules in `contenders/`."""

POLICIES: dict[str, Factory] = {OURS: _switchyard} | {name: _contender(name) for name in (*CONTENDERS, REFERENCE)}
"""In the order in which they are printed."""


def make_rules(name: str, setting: Setting, trace: Trace) -> Rules:
    """Raises ValueError, with those that there are, for an unknown name."""
    _require_known(name)
    return POLICIES[name](setting, trace)


def policy_names(written: str) -> list[str]:
    """Of `a,b`, or of `all`, which is every one. Raises ValueError, with those that there are, for an unknown name."""
    if written == "all":
        return list(POLICIES)
    names = [name.strip() for name in written.split(",")]
    for name in names:
        _require_known(name)
    return list(dict.fromkeys(names))


def _require_known(name: str) -> None:
    if name not in POLICIES:
        raise ValueError(f"unknown policy '{name}', expected one of {', '.join(POLICIES)}")
