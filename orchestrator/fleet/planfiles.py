"""Files that plans are made of, in YAML or JSON: a cluster to place experts on, and the quantisations that experts come in.

    cluster = read_plan_file(Path("cluster.yaml"), Cluster)
    cluster.problem()                                   # for `orchestrator.scheduler.placement`
    read_plan_file(Path("variants.yaml"), Quantised).fleet()

    nodes: [{name: left, memory_gb: 16}, {name: right, memory_gb: 24, speed: 2, load_gb_per_s: 0.5, site: rack-2}]
    links: {near_s: 0.001, far_s: 0.05}
    experts: [{name: small, memory_gb: 2, rate_per_s: 1.5, service_s: 0.4}, {name: large, memory_gb: 9}]
    together: [{experts: [small, large], rate_per_s: 0.2}]
    current: {left: [small]}

Not here: the plans (`orchestrator/scheduler/placement/`, `orchestrator/scheduler/precision.py`).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from orchestrator.errors import ConfigError
from orchestrator.fleet.configfile import read_text
from orchestrator.scheduler.placement.base import Demand, Links, Node, Problem, Together
from orchestrator.scheduler.precision import Variant, Variants

GB = 1e9

Amount = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
"""Of GB, seconds, requests: what is infinite, or no number, is neither of them."""
Reward = Annotated[float, msgspec.Meta(ge=0, le=1)]

T = TypeVar("T")


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class NodeEntry(_Section, frozen=True):
    name: str
    memory_gb: Amount
    speed: Amount = 1.0
    load_gb_per_s: Amount = 1.0
    site: str = ""


class LinksEntry(_Section, frozen=True):
    near_s: Amount = 0.0
    far_s: Amount = 0.0


class ExpertEntry(_Section, frozen=True):
    name: str
    memory_gb: Amount
    rate_per_s: Amount = 0.0
    service_s: Amount = 0.0


class TogetherEntry(_Section, frozen=True):
    experts: tuple[str, str]
    rate_per_s: Amount


class Cluster(_Section, frozen=True):
    """current: experts in memory now, by node. horizon_s: for how long the traffic is expected to be like this."""

    nodes: tuple[NodeEntry, ...]
    links: LinksEntry = LinksEntry()
    experts: tuple[ExpertEntry, ...] = ()
    together: tuple[TogetherEntry, ...] = ()
    current: dict[str, tuple[str, ...]] = {}
    horizon_s: Amount = 3600.0

    def problem(
        self, demands: tuple[Demand, ...] | None = None, together: tuple[Together, ...] | None = None
    ) -> Problem:
        """demands, together: measured ones, where the file states none. Raises `ConfigError` for what makes no sense."""
        stated = tuple(Demand(e.name, round(e.memory_gb * GB), e.rate_per_s, e.service_s) for e in self.experts)
        experts = stated if demands is None else demands
        pairs = tuple(Together(pair.experts, pair.rate_per_s) for pair in self.together)
        return Problem(
            nodes=tuple(
                Node(n.name, round(n.memory_gb * GB), n.speed, n.load_gb_per_s * GB, n.site) for n in self.nodes
            ),
            experts=experts,
            together=pairs if together is None else together,
            links=Links(self.links.near_s, self.links.far_s),
            current=self._current({demand.expert for demand in experts}),
            horizon_s=self.horizon_s,
        )

    def _current(self, known: Collection[str]) -> dict[str, set[str]]:
        """The nodes of each expert. known: the experts that are to be placed."""
        nodes: dict[str, set[str]] = {}
        for node, experts in self.current.items():
            _check_known("nodes", node, {entry.name for entry in self.nodes})
            for expert in experts:
                _check_known("experts", expert, known)
                nodes.setdefault(expert, set()).add(node)
        return nodes


def _check_known(what: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        names = ", ".join(sorted(known))
        raise ConfigError(f"'{name}' under current is none of the {what} ({names}); leave out what has gone")


class VariantEntry(_Section, frozen=True):
    name: str
    memory_gb: Amount
    quality: Reward


class VariantsEntry(_Section, frozen=True):
    name: str
    traffic: Amount
    variants: tuple[VariantEntry, ...]
    without: Reward = 0.0


class Quantised(_Section, frozen=True):
    experts: tuple[VariantsEntry, ...]

    def fleet(self) -> list[Variants]:
        return [
            Variants(
                expert.name,
                expert.traffic,
                tuple(Variant(v.name, round(v.memory_gb * GB), v.quality) for v in expert.variants),
                expert.without,
            )
            for expert in self.experts
        ]


def read_plan_file(path: Path, kind: type[T]) -> T:
    """Raises `ConfigError` for a file that can't be read, or isn't like that; unknown keys are errors."""
    try:
        return msgspec.convert(YAML(typ="safe", pure=True).load(read_text(path)), kind)
    except YAMLError as exc:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(exc).split())}") from exc
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{path}: {exc}") from exc
