"""Where experts could live, and what that costs: nodes, demand, a placement, and its cost in seconds for every second.

    problem = Problem(
        nodes=(Node("left", 16_000_000_000), Node("right", 24_000_000_000, speed=2.0, site="b")),
        experts=(Demand("small", 2_000_000_000, rate_per_s=1.5, service_s=0.4),),
        together=(Together(("small", "large"), rate_per_s=0.2),),
        links=Links(near_s=0.001, far_s=0.05),
        current={"small": {"left"}},
    )

A copy is **resident** on a node, or **visits** it: it is loaded when it is asked for, into room that all visitors of the node take
turns in. So every expert that fits on some node has a place, whatever the memory, and what does not fit costs swaps instead.
Not here: finding a placement (`placing.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import ConfigError
from orchestrator.scheduler.rules import MIN_STAY

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Node:
    """speed: seconds of work that it does in a second. load_bytes_per_s: of weights into memory. site: its nodes are near."""

    name: str
    memory_bytes: int
    speed: float = 1.0
    load_bytes_per_s: float = 1e9
    site: str = ""


@dataclass(frozen=True, slots=True)
class Demand:
    """service_s: what one request takes of a node of speed 1, divided by how many run at once."""

    expert: str
    memory_bytes: int
    rate_per_s: float = 0.0
    service_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Together:
    """Two experts that one request asks both, as panels do."""

    experts: tuple[str, str]
    rate_per_s: float


@dataclass(frozen=True, slots=True)
class Links:
    """Seconds that such a request loses: none on one node, near_s between nodes of a site, far_s between sites (near_s or more)."""

    near_s: float = 0.0
    far_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Cost:
    """All in seconds a second.

    busiest: work and loads of visitors on the node that has most for its speed; above 1 it can't keep up. network: lost on links.
    swapping: loads of visitors, on all nodes. moving: loads that lead here from the current placement, spread over the horizon.
    """

    busiest: float
    network: float
    swapping: float
    moving: float

    @property
    def total(self) -> float:
        """What is minimised."""
        return self.busiest + self.network + self.swapping + self.moving


@dataclass(frozen=True)
class Placement:
    """resident, visiting: copies, `(n_experts, n_nodes)`. shares: of each expert's requests, rows sum to 1; 0 where no copy is."""

    resident: Bools
    visiting: Bools
    shares: Floats


@dataclass(frozen=True)
class Problem:
    """current: the nodes that have each expert's weights in memory. horizon_s: for how long the demand is expected to last.

    Raises `ConfigError` for a name that stands twice or nowhere, numbers that make no sense, and an expert that fits no node.
    """

    nodes: tuple[Node, ...]
    experts: tuple[Demand, ...]
    together: tuple[Together, ...] = ()
    links: Links = Links()
    current: Mapping[str, Collection[str]] = field(default_factory=dict)
    horizon_s: float = 3600.0

    def __post_init__(self) -> None:
        _check_names("node", [node.name for node in self.nodes])
        _check_names("expert", [demand.expert for demand in self.experts])
        _check_numbers(self)
        known = {demand.expert for demand in self.experts}
        if unknown := {name for pair in self.together for name in pair.experts} - known:
            raise ConfigError(f"'{min(unknown)}' is asked together with another, but is none of the experts")
        for demand, memory_gb in zip(self.experts, self.memory_gb.tolist(), strict=True):
            if memory_gb > self.room_gb.max():
                needs, has = demand.memory_bytes / 1e9, self.room_gb.max()
                raise ConfigError(f"'{demand.expert}' needs {needs:.3f} GB, and the largest node has {has:.3f} GB")

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.experts), len(self.nodes)

    @cached_property
    def memory_gb(self) -> Floats:
        """`(n_experts,)`, rounded up to whole MB, so that a solver's tolerance is never a node's memory."""
        memory_gb: Floats = np.ceil(np.array([demand.memory_bytes for demand in self.experts]) / 1e6) / 1e3
        return memory_gb

    @cached_property
    def room_gb(self) -> Floats:
        """`(n_nodes,)`, rounded down."""
        room_gb: Floats = np.floor(np.array([node.memory_bytes for node in self.nodes]) / 1e6) / 1e3
        return room_gb

    @cached_property
    def fits(self) -> Bools:
        fits: Bools = self.memory_gb[:, None] <= self.room_gb
        return fits

    @cached_property
    def work(self) -> Floats:
        """Of each node's time, if it served all of an expert's requests, `(n_experts, n_nodes)`."""
        work: Floats = np.outer([d.rate_per_s * d.service_s for d in self.experts], [1 / n.speed for n in self.nodes])
        return work

    @cached_property
    def load_s(self) -> Floats:
        load_s: Floats = np.outer(self.memory_gb, [1e9 / node.load_bytes_per_s for node in self.nodes])
        return load_s

    @cached_property
    def swapping(self) -> Floats:
        """Seconds a second that a node loads a visitor: once it has been loaded, it stays for MIN_STAY and then until others
        come, and the next of its requests, which come at random, loads it again."""
        rates = np.array([demand.rate_per_s for demand in self.experts])[:, None]
        swapping: Floats = rates * self.load_s / (1.0 + rates * MIN_STAY * self.load_s)
        return swapping

    @cached_property
    def is_current(self) -> Bools:
        names = [node.name for node in self.nodes]
        return np.array([[name in self.current.get(d.expert, ()) for name in names] for d in self.experts])

    @cached_property
    def moving(self) -> Floats:
        """Seconds a second to have a copy on a node: none where it is already."""
        moving: Floats = np.where(self.is_current, 0.0, self.load_s / self.horizon_s)
        return moving

    @cached_property
    def pairs(self) -> NDArray[np.intp]:
        """The experts of `together` by their index, `(n_pairs, 2)`."""
        index = {demand.expert: i for i, demand in enumerate(self.experts)}
        return np.array([[index[name] for name in pair.experts] for pair in self.together], dtype=np.intp).reshape(
            -1, 2
        )

    @cached_property
    def pair_rates(self) -> Floats:
        return np.array([pair.rate_per_s for pair in self.together], dtype=np.float64)

    @cached_property
    def places(self) -> tuple[Bools, Floats]:
        """Nodes, then sites, as sets of nodes `(n_places, n_nodes)`, and what leaving each costs one of a pair, in seconds.

        The network as a tree: a pair on two nodes leaves both, and if they are far apart, their sites too.
        """
        sites = sorted({node.site for node in self.nodes})
        inside = np.array([[node.site == site for node in self.nodes] for site in sites])
        leaving = [self.links.near_s / 2] * len(self.nodes) + [(self.links.far_s - self.links.near_s) / 2] * len(sites)
        return np.vstack([np.eye(len(self.nodes), dtype=np.bool_), inside]), np.array(leaving)

    def cost(self, placement: Placement) -> Cost:
        """What a placement costs, when of a pair's two experts those copies answer that are nearest to each other."""
        places, leaving = self.places
        inside = placement.shares @ places.T
        apart = np.abs(inside[self.pairs[:, 0]] - inside[self.pairs[:, 1]])
        return Cost(
            busiest=float(self.loads(placement).max()),
            network=float(self.pair_rates @ apart @ leaving),
            swapping=float((self.swapping * placement.visiting).sum()),
            moving=float((self.moving * placement.resident).sum()),
        )

    def loads(self, placement: Placement) -> Floats:
        """Of each node's time, what work and loads of visitors take, `(n_nodes,)`."""
        loads: Floats = (self.work * placement.shares + self.swapping * placement.visiting).sum(axis=0)
        return loads

    def used_gb(self, placement: Placement) -> Floats:
        """`(n_nodes,)`: residents, and room for the largest visitor."""
        visitors = np.where(placement.visiting, self.memory_gb[:, None], 0.0).max(axis=0, initial=0.0)
        used: Floats = self.memory_gb @ placement.resident + visitors
        return used


def _check_names(what: str, names: list[str]) -> None:
    if not names:
        raise ConfigError(f"expected at least one {what}")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"the {what} '{twice}' stands twice")


def _check_numbers(problem: Problem) -> None:
    above_zero = [problem.horizon_s, *(n for node in problem.nodes for n in (node.speed, node.load_bytes_per_s))]
    from_zero = [
        *(number for d in problem.experts for number in (d.memory_bytes, d.rate_per_s, d.service_s)),
        *(pair.rate_per_s for pair in problem.together),
        problem.links.near_s,
        problem.links.far_s - problem.links.near_s,
    ]
    if not all(0 < number < np.inf for number in above_zero) or not all(0 <= number < np.inf for number in from_zero):
        raise ConfigError(
            "expected speeds, bandwidths and a horizon above 0, and nothing below 0; far_s is near_s or more"
        )
