"""The nouns of the simulator: a machine (`Setting`), who asks for what and when (`Trace`), what came of it (`Run`).

    setting = Setting.even(experts=16, slots=2, swap_s=6.0, batch=8, batch_s=2.0)
    trace = Trace(at_s=np.array([0.0, 0.5]), expert=np.array([3, 7]))
    run = simulate(trace, setting, make_rules("switchyard", setting, trace))       # running.py, registry.py
    run.latency_s                                                                  # from arrival to completion

Everything about requests and experts is an array, in the order of the requests or of `setting.experts`, and can't be written to:
one trace is handed to every policy. Times are simulated seconds from 0. Not here: how requests come to be (`workloads.py`,
`traces.py`), the machine itself (`machine.py`), what is measured (`measures.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from orchestrator.scheduler.base import Batching

if TYPE_CHECKING:
    from orchestrator.scheduler.rules import Rules

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SLOT_BYTES = 1_000_000_000
NOBODY = -1
"""In place of an expert or a request: there is none."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A machine and the experts that share its memory; arrays are (E,), one entry an expert.

    size_bytes: of each in memory. budget_bytes: of memory. load_s: to bring it into memory, which it occupies meanwhile. stop_s: to
    free it. batch: the most leases at once. service_s: of a batch, or of a lease that runs alone. batching: as of `Place`. slowing:
    with continuous batching, by what part of its service time each other running lease slows a new one. load_failures: the chance
    that a load fails. Raises ValueError that names what can't be.
    """

    experts: tuple[str, ...]
    size_bytes: Ints
    budget_bytes: int
    load_s: Floats
    batch: Ints
    service_s: Floats
    batching: Batching = "together"
    stop_s: float = 0.0
    slowing: float = 0.0
    load_failures: float = 0.0

    def __post_init__(self) -> None:
        _require(len(set(self.experts)) == len(self.experts), "experts", "a name of its own for each")
        for name in ("size_bytes", "load_s", "batch", "service_s"):
            values = getattr(self, name)
            if values.shape != (len(self.experts),):
                raise ValueError(
                    f"{name}: has shape {values.shape}, expected ({len(self.experts)},), one entry an expert"
                )
            _freeze(values)
        for name in ("size_bytes", "batch", "service_s"):
            _require(_finite(getattr(self, name), above=0.0), name, "more than 0 for every expert")
        for name in ("load_s", "stop_s", "slowing"):
            _require(_finite(getattr(self, name)), name, "0 or more")
        _require(0 <= self.load_failures < 1, "load_failures", "at least 0 and less than 1")
        _require(
            bool((self.size_bytes <= self.budget_bytes).all()), "budget_bytes", "at least the largest expert's size"
        )

    @classmethod
    def even(
        cls,
        experts: int | Sequence[str] = 16,
        slots: int = 2,
        swap_s: float = 6.0,
        batch: int = 8,
        batch_s: float = 2.0,
        batching: Batching = "together",
        stop_s: float = 0.0,
        slowing: float = 0.0,
        load_failures: float = 0.0,
    ) -> Setting:
        """Experts that are all alike, of which `slots` fit into memory. experts: their names, or how many."""
        names = tuple(f"expert-{number}" for number in range(experts)) if isinstance(experts, int) else tuple(experts)
        for name, count in (("experts", len(names)), ("slots", slots), ("batch", batch)):
            _require(count >= 1, name, "1 or more")
        return cls(
            experts=names,
            size_bytes=np.full(len(names), SLOT_BYTES),
            budget_bytes=slots * SLOT_BYTES,
            load_s=np.full(len(names), float(swap_s)),
            batch=np.full(len(names), batch),
            service_s=np.full(len(names), float(batch_s)),
            batching=batching,
            stop_s=stop_s,
            slowing=slowing,
            load_failures=load_failures,
        )


@dataclass(frozen=True, slots=True)
class Trace:
    """n requests in order of arrival.

    at_s: (n,) seconds, ascending. expert: (n,) indices into `setting.experts`: who is asked, or would be if nobody had to wait.
    session: (n,) numbers, `NOBODY` for none. after: (n,) index of the earlier request whose answer this one waits for, else
    `NOBODY`; such a request comes as long after that answer as `at_s` says it comes after that request. utilities: (n, E), of each
    expert for each request, NaN where it is no candidate; None means that `expert` is the only candidate. mu: utility given up per
    second of wait. Raises ValueError that names what can't be.
    """

    at_s: Floats
    expert: Ints
    session: Ints | None = None
    after: Ints | None = None
    utilities: Floats | None = None
    mu: float = 0.0

    def __post_init__(self) -> None:
        n = len(self)
        _require(bool(np.isfinite(self.at_s).all()), "at_s", "finite seconds")
        _require(bool((np.diff(self.at_s, prepend=0.0) >= 0).all()), "at_s", "ascending seconds from 0")
        for name in ("at_s", "expert", "session", "after"):
            if (values := getattr(self, name)) is not None:
                _require(values.shape == (n,), name, f"shape ({n},), one entry a request")
                _freeze(values)
        _require(bool((self.expert >= 0).all()), "expert", "indices from 0")
        if self.after is not None:
            _require(bool((self.after < np.arange(n)).all()), "after", "earlier requests only")
        if self.utilities is not None:
            _require(self.utilities.ndim == 2 and len(self.utilities) == n, "utilities", f"shape ({n}, experts)")
            _require(not np.isnan(self.utilities).all(axis=1).any(), "utilities", "a candidate for every request")
            _freeze(self.utilities)

    def __len__(self) -> int:
        return len(self.at_s)


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a trace under one policy; arrays are (n,), in the order of the trace, but for the loads'.

    arrived_s: later than the trace says where the request waited for another's answer. started_s, done_s: NaN for a request that
    was refused. expert: who answered, `NOBODY` if it was refused. cold: whether that expert took no requests when this one
    arrived (it was not in memory, or on its way out), or there was none. load_expert, load_s: (loads,) which expert was loaded, and
    when that began.
    """

    arrived_s: Floats
    started_s: Floats
    done_s: Floats
    expert: Ints
    cold: NDArray[np.bool_]
    load_expert: Ints
    load_s: Floats

    @property
    def latency_s(self) -> Floats:
        """From arrival to completion."""
        return self.done_s - self.arrived_s


Factory = Callable[[Setting, Trace], "Rules"]
"""A contender: its rules for one run. The trace is for references that know what will come; nobody else looks at it."""


def _finite(values: Floats | Ints | float, above: float = -1e-12) -> bool:
    return bool((np.isfinite(values) & (np.asarray(values) > above)).all())


def _freeze(values: NDArray[np.generic]) -> None:
    values.flags.writeable = False


def _require(holds: bool, name: str, expected: str) -> None:
    if not holds:
        raise ValueError(f"{name}: expected {expected}")
