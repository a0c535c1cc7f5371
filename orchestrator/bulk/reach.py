"""Whom a query may come to ask, by what its `model` stands for: pure, from the fleet alone.

    reach = Reach(fleet)
    reach.asks("panel/council")          # the hosts of its members and of its judge
    reach.asks("smollm2")                # nobody but the one: an empty set

A single expert that fails may still be followed by another: fallbacks are no part of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.config import PANEL_PREFIX, ExpertBase, PanelExpert, PolicySpec
from orchestrator.config.panels import OF_TOKENS
from orchestrator.fleet.snapshot import Fleet


class Reach:
    """Of one fleet; what was asked is remembered."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._asks: dict[str, frozenset[str]] = {}
        self._together: dict[str, bool] = {}

    def asks(self, model: str) -> frozenset[str]:
        """The hosts that a query for `model` may ask one after the other; empty when it asks one expert and no more."""
        if not self._knows(model):
            return frozenset()
        if model not in self._asks:
            self._asks[model] = frozenset(self._hosts(self._several(model)))
        return self._asks[model]

    def writes_together(self, model: str) -> bool:
        """Whether it may come to a panel whose members write one text token by token, all in memory at once."""
        if not self._knows(model):
            return False
        if model not in self._together:
            panels = self._panels(self._several(model))
            self._together[model] = any(spec.panel.aggregator in OF_TOKENS for spec in panels)
        return self._together[model]

    def _knows(self, model: str) -> bool:
        """What clients make up is not remembered."""
        return model in self._fleet.specs or model in self._fleet.policies

    def _several(self, model: str) -> list[ExpertBase]:
        """Experts and panels of which a query for `model` may ask more than one, or which ask others themselves."""
        policy = self._fleet.policies.get(model)
        if policy is None:
            spec = self._fleet.specs[model]
            return [spec] if spec.composite else []
        candidates = self._candidates(policy)
        scorers = [scorer for (router, _), scorer in self._fleet.scorers.items() if router == policy.router]
        in_steps = policy.mode != "one" or policy.retry_unusable or any(scorer.asks_experts for scorer in scorers)
        return candidates if in_steps else [spec for spec in candidates if spec.composite]

    def _candidates(self, policy: PolicySpec) -> list[ExpertBase]:
        panel = () if policy.panel is None else (PANEL_PREFIX + policy.panel,)
        return [self._fleet.specs[name] for name in (*(policy.experts or self._fleet.config.by_name), *panel)]

    def _hosts(self, specs: Iterable[ExpertBase]) -> set[str]:
        panels = list(self._panels(specs))
        members = (self._fleet.specs[name] for panel in panels for name in panel.panel.asks)
        return {spec.host for spec in (*specs, *members) if not spec.composite}

    def _panels(self, specs: Iterable[ExpertBase]) -> Iterable[PanelExpert]:
        """Those among them, and those within."""
        for spec in specs:
            if isinstance(spec, PanelExpert):
                yield spec
                yield from self._panels(self._fleet.specs[name] for name in spec.panel.asks)
