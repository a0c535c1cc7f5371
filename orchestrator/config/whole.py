"""One `experts.yaml`, whole: its sections, and whether every name that it mentions exists.

config = Config.model_validate({"version": 1, "experts": [{"name": "echo", "backend": "echo"}]})
list(config.dangling())                       # [(("panels", "jury", "experts", 0), "'nobody' is no expert; ..."), ...]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from orchestrator.config.backends import ExpertSpec, LlamaCppSpec, PersonaSpec, PromptedBase
from orchestrator.config.base import (
    DEFAULT_POLICY,
    DEFAULT_ROUTER,
    ExpertBase,
    Name,
    NonNegative,
    Positive,
    Section,
    ServedBase,
)
from orchestrator.config.panels import (
    JUDGE_AUTO,
    MAX_PANEL_DEPTH,
    OF_TOKENS,
    PANEL_PREFIX,
    WITHOUT_JUDGE,
    PanelExpert,
    PanelSpec,
)
from orchestrator.config.policies import PolicySpec, RouterSpec


class GatewaySpec(Section):
    """Where the gateway listens, and what it accepts."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8700
    max_body_mb: Positive = 20.0
    request_timeout_s: Positive = 300.0
    keys_file: Path | None = None


class MemorySpec(Section):
    """What resident experts may use together on this machine; by default 80% of what is there.

    asleep_gb: what sleeping ones may keep of the host's memory besides, 0: nobody sleeps; by default half of what experts that are
    not on a device leave of it.
    prefetch: whether memory that nobody needs is given to experts that will be asked soon; it is read at start.
    """

    budget_gb: Positive | None = None
    asleep_gb: NonNegative | None = None
    prefetch: bool = True


class LedgerSpec(Section):
    """Where decisions and feedback are kept: `sqlite:///PATH`, for the gateways of one machine, or `postgresql://USER@HOST/DATABASE`.

    By default it is `.switchyard/ledger.db` beside the YAML. A password that is not in the URL is taken from `PGPASSWORD` or
    `~/.pgpass`.
    """

    url: Annotated[str | None, Field(repr=False)] = None
    keep_text: bool = True


class BatchesSpec(Section):
    """What `/v1/files` and `/v1/batches` take: of one file, of one key's batches that are not over, and of all files together.

    patience_s: how long a line waits for an expert that can't be loaded, or is over its limits, before it fails.
    folder: where the files are, by default `batches` beside a ledger that is a file, else `.switchyard/batches` beside the YAML;
    gateways that share a ledger need one that they share, too. It is read at start.
    """

    max_file_mb: Positive = 200.0
    max_line_mb: Positive = 20.0
    max_requests: Annotated[int, Field(ge=1)] = 50_000
    max_unfinished: Annotated[int, Field(ge=1)] = 100
    max_stored_gb: Positive = 10.0
    patience_s: Annotated[float, Field(ge=0)] = 3600.0
    folder: Path | None = None


class GatewaysSpec(Section):
    """How many gateways share the requests on a Ray cluster: as many as have about `target_ongoing` of them under way each.

    Requests that wait for an expert count, and another gateway doesn't shorten their wait: let the target be generous. A start
    is given up when no gateway has got any further for `start_s` seconds. They are read at start.
    """

    min: Annotated[int, Field(ge=1)] = 1
    max: Annotated[int, Field(ge=1)] = 4
    target_ongoing: Positive = 64.0
    start_s: Positive = 120.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"got min {self.min}, which is more than max {self.max}")
        return self


class RaySpec(Section):
    """address: HOST:PORT of the cluster to join; by default $RAY_ADDRESS, and without that a cluster is started on this machine."""

    address: str | None = None
    gateways: GatewaysSpec = GatewaysSpec()


class Config(Section):
    """One `experts.yaml`, whole and consistent: every name it mentions exists.

    placement: on a cluster, the nodes that experts with weights are to live on, by expert; the others may live anywhere. So may one
    whose nodes are all gone, or too small.
    """

    version: Literal[1]
    experts: Annotated[tuple[ExpertSpec, ...], Field(min_length=1)]
    gateway: GatewaySpec = GatewaySpec()
    engine: Literal["local", "ray"] = "local"
    memory: MemorySpec = MemorySpec()
    ledger: LedgerSpec = LedgerSpec()
    batches: BatchesSpec = BatchesSpec()
    ray: RaySpec = RaySpec()
    placement: dict[Name, Annotated[tuple[str, ...], Field(min_length=1)]] = {}
    routers: dict[Name, RouterSpec] = {}
    policies: dict[Name, PolicySpec] = {}
    panels: dict[Name, PanelSpec] = {}

    @field_validator("experts")
    @classmethod
    def _prompted_over_their_bases(cls, experts: tuple[ExpertBase, ...]) -> tuple[ExpertBase, ...]:
        """Whoever reads a persona finds what it can over its base, not what it says."""
        bases = {spec.name: spec for spec in experts if not isinstance(spec, PromptedBase)}
        return tuple(
            spec.over(bases[spec.base]) if isinstance(spec, PromptedBase) and spec.base in bases else spec
            for spec in experts
        )

    @cached_property
    def by_name(self) -> Mapping[str, ExpertBase]:
        return {spec.name: spec for spec in self.experts}

    @cached_property
    def panel_experts(self) -> dict[str, PanelExpert]:
        """The panels as experts, by `panel/<name>`; those that sit in others first."""
        made: dict[str, PanelExpert] = {}
        waiting = {PANEL_PREFIX + name: panel for name, panel in self.panels.items()}
        while waiting:
            known = {**self.by_name, **made}
            ready = [name for name, panel in waiting.items() if all(asked in known for asked in panel.asks)]
            if not ready:  # a cycle, or a name that is not there: `dangling` tells
                break
            made |= {name: PanelExpert.of(name, waiting.pop(name), known) for name in ready}
        return made

    @property
    def routable(self) -> tuple[ExpertBase, ...]:
        """Whom routers score: all experts, and the panels that a policy chooses among."""
        named = {expert for policy in self.policies.values() for expert in policy.experts or ()}
        return (*self.experts, *(panel for name, panel in self.panel_experts.items() if name in named))

    @property
    def offered_policies(self) -> dict[str, PolicySpec]:
        """The policies that `model` may name: the declared ones, and the default one though it isn't declared."""
        return {DEFAULT_POLICY: PolicySpec(), **self.policies}

    def dangling(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every name that is used and not defined, or defined twice: `(location, what was expected)`."""
        names = [spec.name for spec in self.experts]
        panels = [PANEL_PREFIX + name for name in self.panels]
        for i, spec in enumerate(self.experts):
            if spec.name in names[:i]:
                yield ("experts", i, "name"), f"'{spec.name}' is already the name of experts[{names.index(spec.name)}]"
            if spec.name == DEFAULT_POLICY and DEFAULT_POLICY not in self.policies:
                yield ("experts", i, "name"), f"'{DEFAULT_POLICY}' is the name of the default policy"
            if isinstance(spec, PromptedBase):
                yield from self._misplaced(i, spec, names)
        served = [spec.name for spec in self.experts if isinstance(spec, ServedBase)]
        for name in (name for name in self.placement if name not in served):
            yield ("placement", name), f"'{name}' is no expert with weights of its own; expected one of {served}"
        for name, router in self.routers.items():
            for key, expert in router.named_experts:
                if expert not in (*names, *panels):
                    yield ("routers", name, key), f"'{expert}' is no expert; expected one of {[*names, *panels]}"
        routers = {DEFAULT_ROUTER, *self.routers}
        for name, policy in self.policies.items():
            if name in names:
                yield ("policies", name), f"'{name}' is already the name of an expert"
            for key in ("router", "previous", "shadow"):
                if (used := getattr(policy, key)) is not None and used not in routers:
                    yield ("policies", name, key), f"'{used}' is no router; expected one of {sorted(routers)}"
            for j, expert in enumerate(policy.experts or ()):
                if expert not in (*names, *panels):
                    yield (
                        ("policies", name, "experts", j),
                        f"'{expert}' is no expert; expected one of {[*names, *panels]}",
                    )
            if policy.panel is not None and policy.panel not in self.panels:
                yield (
                    ("policies", name, "panel"),
                    f"'{policy.panel}' is no panel; expected one of {sorted(self.panels)}",
                )
        for name, panel in self.panels.items():
            yield from self._wrong_in_panel(name, panel, [*names, *panels], routers)

    def unfit(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """What memory can never hold, and members that can't write one text together: `(location, what was expected)`."""
        if self.memory.budget_gb is not None:
            yield from self._too_large(self.memory.budget_gb)
        for name, panel in self.panels.items():
            if panel.aggregator in OF_TOKENS:
                yield from self._without_tokens(name, panel)
                yield from self._too_large_together(name, panel)

    def _too_large(self, budget_gb: float) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Experts that don't fit, alone or, on one machine, beside the pinned ones. Differences are rounded to bytes."""
        served = {i: spec for i, spec in enumerate(self.experts) if isinstance(spec, ServedBase)}
        beside_all = [spec for spec in served.values() if spec.residency.pinned and self.engine == "local"]
        pinned = {spec.name: spec.residency.memory_gb or 0.0 for spec in beside_all}
        pinned_gb = round(sum(pinned.values()), 9)
        for i, spec in served.items():
            needed_gb, pin = spec.residency.memory_gb or 0.0, spec.residency.pinned
            where, room = ("experts", i, "residency", "memory_gb"), f"memory.budget_gb has {budget_gb:g}"
            if needed_gb > budget_gb:
                yield where, f"got {needed_gb:g}, and {room}"
            elif not pin and pinned_gb <= budget_gb and needed_gb > round(budget_gb - pinned_gb, 9):
                beside = f"of which pinned experts ({', '.join(pinned)}) take {pinned_gb:g}"
                yield where, f"got {needed_gb:g}, and {room}, {beside}"
            elif pin and pinned_gb > budget_gb:
                yield (
                    (*where[:3], "pin"),
                    f"the pinned experts ({', '.join(pinned)}) take {pinned_gb:g} GB together, and {room}",
                )

    def _wrong_in_panel(
        self, name: str, panel: PanelSpec, experts: Sequence[str], routers: Set[str]
    ) -> Iterator[tuple[tuple[str | int, ...], str]]:
        known = set(experts)
        for j, expert in enumerate(panel.experts):
            if expert not in known:
                yield ("panels", name, "experts", j), f"'{expert}' is no expert; expected one of {experts}"
            if expert in panel.experts[:j]:
                yield ("panels", name, "experts", j), f"'{expert}' is a member already; expected each once"
        if panel.judge != JUDGE_AUTO and panel.judge not in known:
            yield ("panels", name, "judge"), f"'{panel.judge}' is no expert; expected auto, or one of {experts}"
        elif panel.judge != JUDGE_AUTO and panel.aggregator in WITHOUT_JUDGE:
            yield ("panels", name, "judge"), f"'{panel.aggregator}' asks no judge; expected none"
        asked = [*((("experts", j), expert) for j, expert in enumerate(panel.experts)), (("judge",), panel.judge)]
        for where, expert in asked:
            if (spec := self.by_name.get(expert)) is not None and "chat" not in spec.serves:
                expected = "expected an expert that chats"
                yield ("panels", name, *where), f"'{expert}' serves {spec.kind} requests; {expected}"
        if panel.router is not None and panel.router not in routers:
            yield ("panels", name, "router"), f"'{panel.router}' is no router; expected one of {sorted(routers)}"
        if panel.quorum > len(panel.experts):
            few = f"a quorum of {panel.quorum} can't be met by {len(panel.experts)} experts"
            yield ("panels", name, "quorum"), few
        path = self._way_too_deep((PANEL_PREFIX + name,))
        if path is not None:
            what = "sits in itself" if path[0] == path[-1] else f"sits deeper than {MAX_PANEL_DEPTH} panels"
            yield ("panels", name, "experts"), f"'{path[-1]}' {what}: {' > '.join(path)}"

    def _without_tokens(self, name: str, panel: PanelSpec) -> Iterator[tuple[tuple[str | int, ...], str]]:
        for j, expert in enumerate(panel.experts):
            spec = self.by_name.get(expert)
            host = spec and self.by_name.get(spec.host)
            prompted = isinstance(spec, PersonaSpec) and spec.identity is None
            runs_here = isinstance(host, LlamaCppSpec) and host.kind == "chat"
            known = host is not None or expert.startswith(PANEL_PREFIX)
            if known and not (runs_here and (host is spec or prompted)):
                expected = "expected a chat expert with backend llamacpp, or a persona with a given prompt over one"
                yield (
                    ("panels", name, "experts", j),
                    f"'{expert}' has no next tokens for {panel.aggregator}; {expected}",
                )

    def _too_large_together(self, name: str, panel: PanelSpec) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Members that write together must fit into memory together; one that `contrast` has to spare need not."""
        if self.memory.budget_gb is None or (panel.aggregator == "contrast" and len(panel.experts) > 2):
            return
        hosts = {self.by_name[expert].host for expert in panel.experts if expert in self.by_name}
        served = [spec for spec in self.experts if spec.name in hosts and isinstance(spec, ServedBase)]
        needed_gb = sum(spec.residency.memory_gb or 0.0 for spec in served)
        if needed_gb > self.memory.budget_gb:
            room = f"memory.budget_gb has {self.memory.budget_gb:g}"
            names = ", ".join(spec.name for spec in served)
            yield ("panels", name, "experts"), f"must be in memory together: {names} take {needed_gb:g} GB, and {room}"

    def _way_too_deep(self, path: tuple[str, ...]) -> tuple[str, ...] | None:
        """The first way from `path` on, through members and judges, that comes back to where it began, or is too long."""
        if (len(path) > 1 and path[-1] == path[0]) or len(path) > MAX_PANEL_DEPTH:
            return path
        panel = self.panels.get(path[-1].removeprefix(PANEL_PREFIX))
        inner = (name for name in (panel.asks if panel else ()) if name.startswith(PANEL_PREFIX))
        return next(filter(None, (self._way_too_deep((*path, name)) for name in inner)), None)

    def _misplaced(
        self, i: int, spec: PromptedBase, names: Iterable[str]
    ) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Why the persona or mixture at `experts[i]` can't be over its base."""
        base = self.by_name.get(spec.base)
        if base is None or spec.base == spec.name:
            yield ("experts", i, "base"), f"'{spec.base}' is no other expert; expected one of {names}"
        elif isinstance(base, PromptedBase):
            expected = "expected an expert with a backend of its own"
            yield ("experts", i, "base"), f"'{spec.base}' has a base itself; {expected}"
        elif spec.kind not in base.serves:
            yield ("experts", i, "base"), f"'{spec.base}' serves {base.kind} requests; expected an expert that chats"
        elif spec.context is not None and spec.context < 1:
            key = "system" if isinstance(spec, PersonaSpec) else "base"
            yield ("experts", i, key), f"it takes about {spec.reserved_tokens} tokens, which is the whole context"
