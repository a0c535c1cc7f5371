"""What a router is: queries in, expected reward per expert out. It knows no HTTP, no clock and no fleet.

    router = SkillsRouter(experts=cards, encoder=encoder).fit()
    router.predict(["What is 17 * 23?"])           # array([[0.81, 0.34]], dtype=float32), columns as router.experts_

Constructors store keyword arguments and do nothing else; `fit` learns attributes that end in `_`. What a router is told of an
expert beyond outcomes is its card. Registry: `routers/registry.py`. How scores become a choice: `routers/policy.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ExpertCard:
    """What is declared about an expert. Prices are USD per million tokens."""

    name: str
    kind: str = "chat"
    description: str = ""
    skills: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    price_input: float = 0.0
    price_output: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One query with what is known of each expert tried on it (a line of an outcome file).

    query: text. rewards: 0..1 by expert; an absent expert was not tried. answers: a null one was tried and is unusable.
    group and split are for training and reports and are never seen by `predict`.
    """

    query: str
    rewards: Mapping[str, float]
    id: str | None = None
    group: str | None = None
    split: str | None = None
    costs: Mapping[str, float] = field(default_factory=dict)
    cost_unit: str = "usd"
    answers: Mapping[str, str | None] = field(default_factory=dict)
    target: str | None = None
    propensity: Mapping[str, float] = field(default_factory=dict)


class Encoder(Protocol):
    """Texts to unit vectors. `fingerprint` names model and settings, so that features are never mixed up."""

    def __hash__(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Shape `(len(texts), dimensions)`, float32, rows of length 1. Thread-safe."""
        ...


class Router(Protocol):
    """One narrow verb, `predict`, after `fit`."""

    type: ClassVar[str]
    """The name in the registry."""

    @property
    def experts_(self) -> tuple[str, ...]:
        """The columns of `predict`, known after `fit`."""
        ...

    needs_encoder: bool
    """Class attribute: whether `predict` encodes texts (and so takes milliseconds and is worth batching)."""

    def fit(self, outcomes: Sequence[Outcome] = ()) -> Self: ...

    def predict(self, queries: Sequence[str]) -> FloatArray:
        """Expected reward 0..1, shape `(len(queries), len(experts_))`, float32."""
        ...


@runtime_checkable
class OnlineRouter(Protocol):
    """What a router that learns while it serves does besides."""

    def update(
        self, queries: Sequence[str], experts: Sequence[str], rewards: Sequence[float], propensities: Sequence[float]
    ) -> None:
        """Learn from one reward (0..1) per query and expert, and the probability with which that expert was chosen."""
        ...
