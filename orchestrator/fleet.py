"""The fleet: one `experts.yaml` made ready to serve. An immutable snapshot; a reload makes another.

    fleet = build_fleet(config, services)
    fleet.resolve(query).experts          # the names that `model` stands for

Requests keep the snapshot they began with, so a reload never changes the ground under one. Who is in memory is not the fleet's
business but the scheduler's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import aiohttp

from orchestrator.config import (
    Config,
    ExpertBase,
    OnnxSpec,
    PanelSpec,
    PolicySpec,
    Residency,
    RouterSpec,
    ServedBase,
)
from orchestrator.errors import ConfigError, Forbidden, UnknownModel
from orchestrator.experts.base import Expert, ServerCommand, Services
from orchestrator.experts.registry import launch_command, make_expert
from orchestrator.routing import Scorer
from orchestrator.scheduler.base import Place
from orchestrator.types import Kind, Query
from orchestrator.weights import weights_path
from routers.base import Encoder, ExpertCard, Router
from routers.encoders import HashedEncoder, OnnxEncoder
from routers.registry import make_router

PANEL_PREFIX = "panel/"
DEFAULT_ROUTER = "default"
DEFAULT_POLICY = "auto"


@dataclass(frozen=True, slots=True)
class Route:
    """What a request's `model` stands for: a policy over experts, a panel, or (with neither) one expert by name."""

    name: str
    experts: tuple[str, ...]
    policy: PolicySpec | None = None
    panel: PanelSpec | None = None

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
            if query.caller.policies is not None and model not in query.caller.policies:
                raise Forbidden(f"this key may not use the policy '{model}'", param="model")
            return Route(model, policy.experts or tuple(self.specs), policy=policy)
        if model in self.specs:
            return Route(model, (model,))
        if model.startswith(PANEL_PREFIX) and (panel := self.config.panels.get(model.removeprefix(PANEL_PREFIX))):
            return Route(model, panel.experts, panel=panel)
        raise UnknownModel(f"the model '{model}' does not exist; GET /v1/models lists those that do", param="model")


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
        policies={DEFAULT_POLICY: PolicySpec(), **config.policies},
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
    except ValueError as exc:
        raise ConfigError(f"routers.{name}: {exc}") from exc


def make_places(fleet: Fleet) -> tuple[Place, ...]:
    """What the scheduler has to know of each expert."""
    return tuple(_place(spec, fleet) for spec in fleet.config.experts)


def _place(spec: ExpertBase, fleet: Fleet) -> Place:
    host = fleet.specs[spec.host]
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
        command=partial(_launch, host, fleet.services) if host.holds_weights else None,
    )


def _launch(host: ExpertBase, services: Services) -> ServerCommand:
    command = launch_command(host, services)
    assert command is not None, f"{host.name} holds weights"
    return command


def default_encoder(config: Config, base_dir: Path) -> Encoder:
    """What routers read texts with: the fleet's first ONNX embedding expert whose weights are there, or else hashing."""
    for spec in config.experts:
        if isinstance(spec, OnnxSpec) and spec.kind == "embedding":
            try:
                model, tokenizer = weights_path(spec.model, base_dir), weights_path(spec.tokenizer, base_dir)
            except ConfigError:
                continue
            return OnnxEncoder(model, tokenizer, pooling=spec.pooling)
    return HashedEncoder()
