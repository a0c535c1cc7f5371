"""The fleet: one `experts.yaml` made ready to serve. An immutable snapshot; a reload makes another.

    fleet = build_fleet(config, http=http, base_dir=base_dir, encoders=encoders)
    fleet.resolve(query).experts          # the names that `model` stands for

Requests keep the snapshot they began with, so a reload never changes the ground under one. Who is in memory is not the fleet's
business but the scheduler's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from msgspec import Struct

from orchestrator.aggregators.choosing import read_aggregation
from orchestrator.aggregators.panel import Panel
from orchestrator.aggregators.registry import check_members, make_aggregator
from orchestrator.config import (
    PANEL_PREFIX,
    Config,
    ExpertBase,
    LiteLLMSpec,
    OpenAISpec,
    PanelExpert,
    PolicySpec,
    Residency,
    ServedBase,
)
from orchestrator.errors import ConfigError, Forbidden, UnknownModel
from orchestrator.experts.base import Expert, Services
from orchestrator.experts.registry import make_expert
from orchestrator.fleet.encoding import FleetEncoders
from orchestrator.fleet.launching import Launch
from orchestrator.fleet.routers import Scorers, make_scorers
from orchestrator.scheduler.base import Place, Spread
from orchestrator.types import Query
from routers.base import Encoder


class Route(Struct, frozen=True):
    """What a request's `model` stands for: a policy over experts, or (without one) an expert or a panel by name."""

    name: str
    experts: tuple[str, ...]
    policy: PolicySpec | None = None
    is_panel: bool = False

    @property
    def policy_name(self) -> str:
        """What the record has as its policy: nothing for an expert called by its name."""
        return self.name if self.policy or self.is_panel else ""

    @property
    def max_attempts(self) -> int:
        return (self.policy or PolicySpec()).max_attempts


@dataclass(frozen=True, slots=True)
class Fleet:
    """Experts by name in the order of the YAML, and after them the panels, as `panel/<name>`; a scorer per router and kind of
    request, and what `model` may say."""

    config: Config
    specs: Mapping[str, ExpertBase]
    experts: Mapping[str, Expert]
    scorers: Scorers
    policies: Mapping[str, PolicySpec]

    async def close(self) -> None:
        """End the routers' threads."""
        for scorer in set(self.scorers.values()):
            await scorer.close()

    def resolve(self, query: Query) -> Route:
        """Raises `UnknownModel`, and `Forbidden` when the caller's key is not for it."""
        model = query.model
        if (policy := self.policies.get(model)) is not None:
            _check_scope(query)
            return Route(model, policy.experts or tuple(self.config.by_name), policy=policy)
        if (spec := self.specs.get(model)) is not None:
            if spec.composite:
                _check_scope(query)
            return Route(model, (model,), is_panel=spec.composite)
        raise UnknownModel(f"the model '{model}' does not exist; GET /v1/models lists those that do", param="model")


def _check_scope(query: Query) -> None:
    """Policies and panels are a key's by name; which experts are is asked of each one (`feasibility.py`)."""
    if query.caller.policies is not None and query.model not in query.caller.policies:
        raise Forbidden(f"this key may not use '{query.model}'", param="model")


def build_fleet(config: Config, *, http: aiohttp.ClientSession, base_dir: Path, encoders: FleetEncoders) -> Fleet:
    """Make every expert, and fit or load every router. Blocks for as long as that takes. Raises `ConfigError`."""
    experts: dict[str, Expert] = {}
    readers = tuple(encoders.by_expert.values())
    services = Services(http, experts.__getitem__, base_dir, readers)
    for spec in config.experts:
        experts[spec.name] = make_expert(spec, services)
    for name, panel in config.panel_experts.items():
        experts[name] = make_panel(panel, base_dir, services.encoders)
    return Fleet(
        config=config,
        specs={**config.by_name, **config.panel_experts},
        experts=experts,
        scorers=make_scorers(config, encoders, base_dir),
        policies=config.offered_policies,
    )


def make_panel(spec: PanelExpert, base_dir: Path, encoders: Sequence[Encoder]) -> Expert:
    """A panel with its aggregator. Raises `ConfigError` that names the panel."""
    panel = spec.panel
    try:
        aggregator = make_aggregator(
            panel.aggregator,
            parameters=panel.parameters,
            prompts=panel.prompts,
            base_dir=base_dir,
            encoders=encoders,
        )
        check_members(aggregator, spec.members, panel)
        ability = None if panel.aggregation is None else read_aggregation(base_dir / panel.aggregation)
        return Panel(spec, aggregator, ability)
    except ConfigError as exc:
        raise ConfigError(f"panels.{spec.name.removeprefix(PANEL_PREFIX)}: {exc.message}") from exc


def make_places(config: Config, base_dir: Path) -> tuple[Place, ...]:
    """What the scheduler has to know of each expert, and of each panel."""
    specs: dict[str, ExpertBase] = {**config.by_name, **config.panel_experts}
    not_inherited = provider_keys(config)
    launches = {
        spec.name: Launch(spec, base_dir, not_inherited) for spec in config.experts if isinstance(spec, ServedBase)
    }
    return tuple(
        _place(spec, specs[spec.host], launches.get(spec.host), config.placement.get(spec.host, ()))
        for spec in specs.values()
    )


def _place(spec: ExpertBase, host: ExpertBase, launch: Launch | None, nodes: tuple[str, ...]) -> Place:
    residency = host.residency if isinstance(host, ServedBase) else Residency()
    return Place(
        expert=spec.name,
        host=spec.host,
        holds_weights=host.holds_weights,
        memory_bytes=int(residency.memory_gb * 1e9) if residency.memory_gb else None,
        pin=residency.pinned > 0,
        keep_alive_s=residency.keep_alive_s,
        concurrency=spec.limits.concurrency,
        rpm=spec.limits.rpm,
        asleep_bytes=residency.asleep_bytes,
        on_device=residency.device,
        command=launch,
        spread=Spread(residency.pinned, residency.replicas.max, nodes),
    )


def provider_keys(config: Config) -> frozenset[str]:
    """The environment variables that hold keys of other services: what runs here has no use for them."""
    remote = (spec for spec in config.experts if isinstance(spec, OpenAISpec | LiteLLMSpec))
    return frozenset(spec.api_key_env for spec in remote if spec.api_key_env)
