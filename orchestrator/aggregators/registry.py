"""The one list of aggregators: a name in `panels.*.aggregator`, and what makes the aggregator it stands for.

    aggregator = make_aggregator("vote")

A new aggregator is one module, and one line here (a function that imports it, if it is heavy).
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.aggregators.base import Aggregator
from orchestrator.aggregators.first import First
from orchestrator.aggregators.vote import Vote
from orchestrator.errors import ConfigError

AGGREGATORS: dict[str, Callable[[], Aggregator]] = {"first": First, "vote": Vote}


def make_aggregator(name: str) -> Aggregator:
    """Raises `ConfigError` that lists the known ones."""
    if name not in AGGREGATORS:
        raise ConfigError(f"'{name}' is no aggregator; expected one of {', '.join(AGGREGATORS)}")
    return AGGREGATORS[name]()
