"""The fleet: one `experts.yaml` made ready to serve. An immutable snapshot; a reload makes another.

    fleet = build_fleet(config, services)
    fleet.resolve(query).experts          # the names that `model` stands for

Requests keep the snapshot they began with, so a reload never changes the ground under one. Who is in memory is not the fleet's
business but the scheduler's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import get_args

import aiohttp

from orchestrator.config import (
    DEFAULT_ROUTER,
    Config,
    ExpertBase,
    LiteLLMSpec,
    OpenAISpec,
    PanelSpec,
    PolicySpec,
    Residency,
    RouterSpec,
    ServedBase,
)
from orchestrator.errors import ConfigError, Forbidden, UnknownModel
from orchestrator.experts.base import Expert, ServerCommand, Services
from orchestrator.experts.registry import launch_command, make_expert
from orchestrator.fleet.weights import weights_path
from orchestrator.routing.scoring import Scorer
from orchestrator.scheduler.base import Place
from orchestrator.types import Kind, Query
from routers.base import Encoder, ExpertCard, Router
from routers.registry import make_router

PANEL_PREFIX = "panel/"


@dataclass(frozen=True, slots=True)
class Route:
    """What a request's `model` stands for: a policy over experts, a panel, or (with neither) one expert by name."""

    name: str
    experts: tuple[str, ...]
    policy: PolicySpec | None = None
    panel: PanelSpec | None = None

    @property
    def policy_name(self) -> str:
        """What the record has as its policy: nothing for an expert called by its name."""
        return self.name if self.policy or self.panel else ""

    @property
    def max_attempts(self) -> int:
        return (self.policy or PolicySpec()).max_attempts


@dataclass(frozen=True, slots=True)
class Fleet:
    """Experts by name in the order of the YAML, a scorer per router and kind of request, and what `model` may say."""

    config: Config
    specs: Mapping[str, ExpertBase]
    experts: Mapping[str, Expert]
    scorers: Mapping[tuple[str, Kind], Scorer]
    policies: Mapping[str, PolicySpec]
    services: Services

    async def close(self) -> None:
        """End the routers' threads."""
        for scorer in set(self.scorers.values()):
            await scorer.close()

    def resolve(self, query: Query) -> Route:
        """Raises `UnknownModel`, and `Forbidden` when the caller's key is not for it."""
        model = query.model
        if (policy := self.policies.get(model)) is not None:
            _check_scope(query)
            return Route(model, policy.experts or tuple(self.specs), policy=policy)
        if model in self.specs:
            return Route(model, (model,))
        if model.startswith(PANEL_PREFIX) and (panel := self.config.panels.get(model.removeprefix(PANEL_PREFIX))):
            _check_scope(query)
            return Route(model, panel.experts, panel=panel)
        raise UnknownModel(f"the model '{model}' does not exist; GET /v1/models lists those that do", param="model")


def _check_scope(query: Query) -> None:
    """Policies and panels are a key's by name; which experts are is asked of each one (`feasibility.py`)."""
    if query.caller.policies is not None and query.model not in query.caller.policies:
        raise Forbidden(f"this key may not use '{query.model}'", param="model")


def expert_card(spec: ExpertBase) -> ExpertCard:
    """What a router is told of an expert."""
    return ExpertCard(
        name=spec.name,
        kind=spec.kind,
        description=spec.description,
        skills=spec.skills,
        examples=spec.examples,
        price_input=spec.price.input,
        price_output=spec.price.output,
    )


def build_fleet(config: Config, *, http: aiohttp.ClientSession, base_dir: Path, encoder: Encoder) -> Fleet:
    """Make every expert and fit every router. Blocks for as long as that takes. Raises `ConfigError`."""
    experts: dict[str, Expert] = {}
    services = Services(http, partial(weights_path, base_dir=base_dir), experts.__getitem__, base_dir)
    for spec in config.experts:
        experts[spec.name] = make_expert(spec, services)
    routers = {DEFAULT_ROUTER: RouterSpec(type="skills"), **config.routers}
    return Fleet(
        config=config,
        specs=config.by_name,
        experts=experts,
        scorers=_make_scorers(config, routers, encoder, base_dir),
        policies=config.offered_policies,
        services=services,
    )


def _make_scorers(
    config: Config, routers: Mapping[str, RouterSpec], encoder: Encoder, base_dir: Path
) -> dict[tuple[str, Kind], Scorer]:
    """A scorer per router and kind of request: chat experts are compared with chat experts only."""
    scorers: dict[tuple[str, Kind], Scorer] = {}
    made: dict[tuple[str, tuple[str, ...]], Scorer] = {}
    for kind in get_args(Kind):
        cards = tuple(expert_card(spec) for spec in config.experts if kind in spec.serves)
        names = tuple(card.name for card in cards)
        for name, spec in routers.items() if cards else ():
            if (name, names) not in made:
                made[name, names] = Scorer(_fit_router(name, spec, cards, encoder, base_dir))
            scorers[name, kind] = made[name, names]
    return scorers


def _fit_router(name: str, spec: RouterSpec, cards: Sequence[ExpertCard], encoder: Encoder, base_dir: Path) -> Router:
    try:
        return make_router(spec.type, experts=cards, encoder=encoder, parameters=spec.parameters(base_dir)).fit()
    except (ValueError, ImportError) as exc:  # of its parameters, or of its encoder
        raise ConfigError(f"routers.{name}: {exc}") from exc


def make_places(fleet: Fleet) -> tuple[Place, ...]:
    """What the scheduler has to know of each expert."""
    return tuple(_place(spec, fleet) for spec in fleet.config.experts)


def _place(spec: ExpertBase, fleet: Fleet) -> Place:
    host = fleet.specs[spec.host]
    command = partial(_launch, host, fleet.services, provider_keys(fleet.config)) if host.holds_weights else None
    residency = host.residency if isinstance(host, ServedBase) else Residency()
    return Place(
        expert=spec.name,
        host=spec.host,
        holds_weights=host.holds_weights,
        memory_bytes=int(residency.memory_gb * 1e9) if residency.memory_gb else None,
        pin=residency.pin,
        keep_alive_s=residency.keep_alive_s,
        concurrency=spec.limits.concurrency,
        rpm=spec.limits.rpm,
        command=command,
    )


def _launch(host: ExpertBase, services: Services, not_inherited: frozenset[str]) -> ServerCommand:
    command = launch_command(host, services)
    assert command is not None, f"{host.name} holds weights"
    return replace(command, not_inherited=not_inherited)


def provider_keys(config: Config) -> frozenset[str]:
    """The environment variables that hold keys of other services: what runs here has no use for them."""
    remote = (spec for spec in config.experts if isinstance(spec, OpenAISpec | LiteLLMSpec))
    return frozenset(spec.api_key_env for spec in remote if spec.api_key_env)
