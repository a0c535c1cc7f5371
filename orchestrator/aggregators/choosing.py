"""Who aggregates: whoever was measured to do it best, by `switchyard experts profile --aggregate`.

    panels:
      council: {experts: [small, large], aggregator: synthesis, aggregation: aggregation.json}

    choose_judge(["small", "large"], read_aggregation(path), {})       # ('large', 'large is right in 71% of what it aggregates')

To answer well and to make one answer of several are two abilities, so the aggregator is chosen by the second (Symbolic-MoE, arXiv
2503.05641). Not here: measuring it (`evals/active/aggregating.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from orchestrator.errors import ConfigError


class Ability(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of one expert as an aggregator: the share of `n` queries on which it concluded rightly, and its 95% interval."""

    n: int
    accuracy: float
    low: float
    high: float


class Aggregation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file holds."""

    judges: dict[str, Ability]


def read_aggregation(path: Path) -> Mapping[str, Ability]:
    """Abilities by expert. Raises `ConfigError` for a file that can't be read, or is none of `experts profile --aggregate`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Aggregation).judges
    except OSError as exc:
        raise ConfigError(f"{path.name}: can't be read: {exc.strerror}") from exc
    except msgspec.MsgspecError as exc:
        raise ConfigError(f"{path.name}: is no file of `switchyard experts profile --aggregate`: {exc}") from exc


def choose_judge(
    candidates: Sequence[str], profile: Mapping[str, Ability] | None, scores: Mapping[str, float]
) -> tuple[str, str]:
    """Who of those that can be asked aggregates, and why: of equals the first.

    profile: measured abilities; where no candidate has one, `scores` decide, what a router expects of each on this query.
    Raises ValueError without candidates.
    """
    if not candidates:
        raise ValueError("nobody can be asked to aggregate, expected at least one candidate")
    measured = {name: (profile or {})[name].accuracy for name in candidates if name in (profile or {})}
    if measured:
        best = max(measured, key=measured.__getitem__)
        return best, f"{best} is right in {measured[best]:.0%} of what it aggregates"
    scored = [name for name in candidates if name in scores]
    if scored:
        best = max(scored, key=scores.__getitem__)
        return best, f"{best} is expected to answer best"
    return candidates[0], f"{candidates[0]} comes first"
