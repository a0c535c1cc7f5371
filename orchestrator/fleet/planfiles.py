"""Files that plans are made of, in YAML or JSON: a cluster to place experts on, and the quantisations that experts come in.

    cluster = read_plan_file(Path("cluster.yaml"), Cluster)
    cluster.problem()                                   # for `orchestrator.scheduler.placement`
    read_plan_file(Path("variants.yaml"), Quantised).fleet()
    # ConfigError: cluster.yaml:1: nodes[0].memory_gb: got 'plenty', expected a number

    nodes: [{name: left, memory_gb: 16}, {name: right, memory_gb: 24, speed: 2, load_gb_per_s: 0.5, site: rack-2}]
    links: {near_s: 0.001, far_s: 0.05}
    experts: [{name: small, memory_gb: 2, rate_per_s: 1.5, service_s: 0.4}, {name: large, memory_gb: 9}]
    together: [{experts: [small, large], rate_per_s: 0.2}]
    current: {left: [small]}

Not here: the plans (`orchestrator/scheduler/placement/`, `orchestrator/scheduler/precision.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import msgspec

from orchestrator.errors import ConfigError
from orchestrator.fleet.configerrors import Loc, got, nearest
from orchestrator.fleet.configerrors import Problem as Wrong
from orchestrator.fleet.configfile import read_text
from orchestrator.fleet.yamlsource import YAMLSource
from orchestrator.scheduler.base import ExpertStatus, MemoryStatus
from orchestrator.scheduler.placement.base import Demand, Links, Node, Problem, Together
from orchestrator.scheduler.precision import Variant, Variants

GB = 1e9

Amount = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
"""Of GB, seconds, requests: what is infinite, or no number, is neither of them."""
Reward = Annotated[float, msgspec.Meta(ge=0, le=1)]

_WORDS = {"`float`": "a number", "`str`": "text", "`array`": "a list", "`object`": "a mapping"}
_MESSAGE = re.compile(r"(?P<text>.*?)(?: - at (?:`key` in )?`\$(?P<path>[^`]*)`)?")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")


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

    @classmethod
    def of(cls, memory: MemoryStatus, statuses: Iterable[ExpertStatus]) -> Self:
        """A cluster that runs: its nodes, and whose weights are in the memory of each. Raises `ConfigError` for one machine."""
        if not memory.nodes:
            raise ConfigError("it serves from one machine, where there is nothing to place")
        nodes = tuple(NodeEntry(name, each.budget_bytes / GB) for name, each in memory.nodes.items())
        there = [status for status in statuses if status.memory_bytes]
        current = {name: tuple(each.expert for each in there if each.node == name) for name in memory.nodes}
        return cls(nodes, current=current)

    def repeated(self) -> Iterator[Wrong]:
        """Names that stand twice, where they do again."""
        yield from _repeated(("nodes",), self.nodes)
        yield from _repeated(("experts",), self.experts)

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

    def repeated(self) -> Iterator[Wrong]:
        """Names that stand twice, where they do again."""
        yield from _repeated(("experts",), self.experts)
        for i, expert in enumerate(self.experts):
            yield from _repeated(("experts", i, "variants"), expert.variants)

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


T = TypeVar("T", bound=Cluster | Quantised)


def read_plan_file(path: Path, kind: type[T]) -> T:
    """Raises `ConfigError` for a file that can't be read, or isn't like that; unknown keys are errors."""
    keys = ", ".join(field.name for field in msgspec.structs.fields(kind) if field.required)
    source = YAMLSource(path, read_text(path), f"a mapping with {keys}")
    try:
        plan = msgspec.convert(source.data, kind)
    except msgspec.ValidationError as exc:
        raise source.error([*source.duplicates(), _wrong(str(exc), source.data, kind)]) from exc
    if problems := [*source.duplicates(), *plan.repeated()]:
        raise source.error(problems)
    return plan


@contextmanager
def told_of(source: Path | str) -> Iterator[None]:
    """What makes no sense in a plan's file is told with the file's name."""
    try:
        yield
    except ConfigError as exc:
        raise ConfigError(f"{source}: {exc.message}") from exc


def _repeated(loc: Loc, entries: Sequence[NodeEntry | ExpertEntry | VariantsEntry | VariantEntry]) -> Iterator[Wrong]:
    seen = Counter[str]()
    for i, entry in enumerate(entries):
        seen[entry.name] += 1
        if seen[entry.name] == 2:
            yield Wrong((*loc, i, "name"), f"'{entry.name}' stands twice")


def _wrong(message: str, data: Any, kind: type[msgspec.Struct]) -> Wrong:
    """What msgspec says, with the value. A path ends where msgspec names no key: `$.current[...][0]`."""
    parts = _MESSAGE.fullmatch(message)
    text, path = (parts["text"], parts["path"] or "") if parts else (message, "")
    exact, _, below = path.partition("[...]")
    loc: Loc = tuple(int(index) if index else name for name, index in _STEP.findall(exact))
    match text.split("`"):
        case ["Object contains unknown field ", name, _]:
            return Wrong((*loc, name), f"unknown key, {nearest(name, _keys(kind, loc))}")
        case ["Object missing required field ", name, _]:
            return Wrong((*loc, name), "missing")
    expected = text.partition(", got ")[0].removeprefix("Expected ")
    for name, words in _WORDS.items():
        expected = expected.replace(name, words)
    if below or "at `key`" in message:
        return Wrong(loc, f"expected {expected} {'in it' if below else 'as a key; put it in quotes'}")
    for key in loc:
        data = data[key]
    return Wrong(loc, f"{got(loc, data)}, expected {expected}")


def _keys(kind: type[msgspec.Struct], loc: Loc) -> list[str]:
    """What may stand in the mapping at `loc`."""
    node: Any = msgspec.inspect.type_info(kind)
    for key in loc:
        if isinstance(node, msgspec.inspect.StructType):
            node = next(field.type for field in node.fields if field.name == key)
        else:
            node = node.item_type
    return [field.name for field in node.fields]
