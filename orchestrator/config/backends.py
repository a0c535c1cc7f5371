"""The experts of `experts.yaml`, one class per backend: `{name: echo, backend: echo}` is an `EchoSpec`.

What a backend makes of its spec is in `orchestrator/experts/`, in the module of its name.
"""

from __future__ import annotations

from argparse import ArgumentError, ArgumentParser
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, StringConstraints, field_validator, model_validator

from orchestrator.config.base import (
    ExpertBase,
    Limits,
    Name,
    NonNegative,
    Section,
    ServedBase,
    SleepingResidency,
    Weights,
)
from orchestrator.tokens import MESSAGE_TOKENS, estimate
from orchestrator.types import Kind

IDENTITY_TOKENS = 128
"""The longest identity that a persona may write."""
IDENTITY_PROMPT_TOKENS = 640
"""What asking for an identity takes beside the query."""
INSTRUCTION_TOKENS = 256
"""The longest instruction of a mixture of prompts."""


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
    residency: SleepingResidency = SleepingResidency()
    model: str | Weights
    executable: str = "vllm"
    args: tuple[str, ...] = ()

    @property
    def gpus(self) -> float:
        """As many as it is told to spread the model over: one copy, or several."""
        if self.resources.gpus is not None or not self.residency.device:
            return super().gpus
        parser = ArgumentParser(add_help=False, exit_on_error=False)
        parser.add_argument("--tensor-parallel-size", "-tp", dest="wide", type=int, default=1)
        parser.add_argument("--pipeline-parallel-size", "-pp", dest="deep", type=int, default=1)
        parser.add_argument("--data-parallel-size", "-dp", dest="copies", type=int, default=1)
        parser.add_argument("--data-parallel-size-local", "-dpl", dest="copies_here", type=int, default=None)
        parallel, _ = parser.parse_known_args([arg.replace("_", "-") for arg in self.args])  # vLLM takes both
        copies = parallel.copies if parallel.copies_here is None else parallel.copies_here
        return float(parallel.wide * parallel.deep * copies)

    @model_validator(mode="after")
    def _can_tell_how_it_woke_up(self) -> Self:
        if self.residency.sleep is not None and "completion" not in self.serves:
            raise ValueError(f"`sleep` is for experts that write text, this one serves {self.kind} requests")
        return self

    @model_validator(mode="after")
    def _says_how_many_gpus(self) -> Self:
        try:
            assert self.gpus >= 0
        except ArgumentError as exc:
            raise ValueError(f"in `args`: {exc}") from exc
        return self


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


class BatchSpec(Section):
    """max_items: of one call, at most; `limits.concurrency` bounds it, too."""

    max_items: Annotated[int, Field(ge=1)] = 32


class FunctionSpec(ExpertBase):
    """A Python callable `module:callable` that takes the last user turn and returns text (or None: not for me).

    batch: it takes a list of them instead, from requests that came at about the same time, and returns a list of as many answers.
    """

    also_serves: ClassVar[Mapping[Kind, Kind]] = {}

    backend: Literal["function"]
    kind: Literal["chat"] = "chat"
    callable: Annotated[str, StringConstraints(pattern=r"^[\w.]+:\w+$")]
    batch: BatchSpec | None = None


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
