"""The fleet's routers: fitted when it is made, or loaded as they were trained; one per kind of request.

    scorers = make_scorers(config, encoders, base_dir)
    await scorers["support", "chat"].scores("What is 17 * 23?")

A trained router scores those of its experts that the fleet has. An expert of the fleet that it doesn't know is added by what it
says of itself, and by the outcomes in `examples`. For a kind of request none of whose experts it knows, `skills` takes its
place. Not here: artifacts (`routers/artifact.py`), and scoring in serving (`orchestrator/routing/scoring.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from orchestrator.config import DEFAULT_ROUTER, Config, ExpertBase, RouterSpec
from orchestrator.errors import ConfigError
from orchestrator.fleet.encoding import FleetEncoders
from orchestrator.routing.scoring import Scorer
from orchestrator.types import Kind
from routers.artifact import Artifact, artifact_experts, load_artifact
from routers.base import ExpertCard, Outcome, Router
from routers.data.outcomes import read_outcomes
from routers.families.learned import LearnedRouter
from routers.families.self_select import SelfSelectRouter
from routers.families.skills import SkillsRouter
from routers.registry import make_router

UNTRAINED = RouterSpec(type="skills")
"""Needs nothing but cards: the router of a fleet that declares none."""

logger = logging.getLogger(__name__)

Scorers = Mapping[tuple[str, Kind], Scorer]


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


def make_scorers(config: Config, encoders: FleetEncoders, base_dir: Path) -> Scorers:
    """A scorer per router and kind of request: chat experts are compared with chat experts only. Raises `ConfigError`."""
    scorers: dict[tuple[str, Kind], Scorer] = {}
    made: dict[tuple[str, tuple[str, ...]], Scorer] = {}
    routers = {DEFAULT_ROUTER: UNTRAINED, **config.routers}
    for name, spec in routers.items():
        if spec.artifact is not None:
            _check_experts(name, base_dir / spec.artifact, config)
        for kind in get_args(Kind):
            cards = tuple(expert_card(expert) for expert in config.routable if kind in expert.serves)
            names = tuple(card.name for card in cards)
            if cards and (name, names) not in made:
                made[name, names] = _make_scorer(name, spec, cards, encoders, base_dir)
            if cards:
                scorers[name, kind] = made[name, names]
    _check_shadows(config, scorers)
    return scorers


def _check_shadows(config: Config, scorers: Scorers) -> None:
    for name, policy in config.policies.items():
        if any(scorer.asks_experts for (router, _), scorer in scorers.items() if router == policy.shadow):
            raise ConfigError(
                f"policies.{name}.shadow: '{policy.shadow}' asks experts, which requests would feel; "
                "expected a router that doesn't"
            )


def _make_scorer(
    name: str, spec: RouterSpec, cards: Sequence[ExpertCard], encoders: FleetEncoders, base_dir: Path
) -> Scorer:
    try:
        if spec.artifact is None:
            return Scorer(_fitted(spec, cards, encoders, base_dir))
        folder = base_dir / spec.artifact
        if not {card.name for card in cards}.intersection(artifact_experts(folder)):
            return Scorer(_fitted(UNTRAINED, cards, encoders, base_dir))
        artifact = load_artifact(folder, encoders=tuple(encoders.by_expert.values()), experts=cards)
        _add_newcomers(name, artifact.router, cards, _read_examples(spec, base_dir))
        _try_out(artifact)
    except (ValueError, ImportError, OSError) as exc:  # of its parameters, its files or its encoder
        raise ConfigError(f"routers.{name}: {exc}") from exc
    return Scorer(artifact.router, trained=artifact, experts=[card.name for card in cards])


def _fitted(spec: RouterSpec, cards: Sequence[ExpertCard], encoders: FleetEncoders, base_dir: Path) -> Router:
    parameters = spec.parameters(base_dir)
    return make_router(str(spec.type), experts=cards, encoder=encoders.default, parameters=parameters).fit()


def _check_experts(name: str, folder: Path, config: Config) -> None:
    """That the fleet has any of the experts that the artifact knows, of whatever kind."""
    try:
        known = artifact_experts(folder)
    except ValueError as exc:
        raise ConfigError(f"routers.{name}: {exc}") from exc
    if not set(known).intersection(expert.name for expert in config.routable):
        raise ConfigError(
            f"routers.{name}: {folder}: was trained for {', '.join(known)}, of which this fleet has none; "
            f"expected some of {', '.join(config.by_name)}"
        )


def _read_examples(spec: RouterSpec, base_dir: Path) -> Sequence[Outcome]:
    return () if spec.examples is None else list(read_outcomes(base_dir / spec.examples))


def _add_newcomers(name: str, router: Router, cards: Sequence[ExpertCard], examples: Sequence[Outcome]) -> None:
    for card in cards:
        if card.name in router.experts_:
            continue
        if isinstance(router, LearnedRouter | SkillsRouter | SelfSelectRouter):
            router.add_expert(card, examples)
        else:
            logger.warning("routers.%s knows nothing of %s and can't learn it: it scores 0", name, card.name)


def _try_out(artifact: Artifact) -> None:
    """One prediction, so that an encoder that can't be opened, or tensors that don't fit, are found before any request comes."""
    try:
        artifact.router.predict(["ready?"])
    except (TypeError, IndexError) as exc:  # what numpy raises for shapes besides ValueError
        raise ValueError(f"the artifact's tensors don't fit together ({exc})") from exc
