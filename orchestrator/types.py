"""The nouns shared by gateway, pipeline, experts, scheduler and ledger: frozen, without I/O.

A `Query` is what is routed; a `Call` is what one expert is asked; an `Answer` is what it says; a `Decision` is the record.

    query = Query(kind="chat", model="auto", body={"model": "auto", "messages": [...]}, text="What is 2 + 2?", ...)
    call = Call(kind=query.kind, body=query.body, deadline=query.deadline)

What every request makes is a msgspec Struct, which is made in a fraction of the time that a frozen dataclass takes; copies of it
are made by `msgspec.structs.replace`, not by that of dataclasses. Not here: anything that parses, sends, waits or stores.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from orchestrator.aggregators.colleagues import Colleagues

Kind = Literal["chat", "completion", "embedding", "rerank"]
Capability = Literal["streaming", "tools", "vision", "json_schema", "logprobs"]
Priority = Literal["interactive", "bulk"]
"""Bulk work is served behind what somebody waits for."""
Progress = Literal["comments", "reasoning"]
"""How a stream tells what goes on before the answer: in SSE comments, which clients skip, or as the reasoning they show."""
STREAMED: tuple[Kind, ...] = ("chat", "completion")
"""The kinds whose answers can be streams; `stream` means nothing to the others."""
Mode = Literal["one", "cascade", "adaptive", "panel"]
Purpose = Literal["answer", "sample", "check", "assessment", "deliberation", "aggregation", "panel"]
"""What an expert is asked for: an answer; one of several, to see whether they agree; what it thinks of an answer, or of a query; a
turn in a discussion or a step on the way; one answer of many. `panel` is the panel itself, whose attempt spans its members'."""
Messages = Sequence[Mapping[str, Any]]
"""OpenAI's chat messages."""


class Caller(Struct, frozen=True):
    """Who asks: the id of an API key, never the key. None means no limit."""

    key_id: str = "anonymous"
    experts: frozenset[str] | None = None
    policies: frozenset[str] | None = None
    admin: bool = True


ANONYMOUS = Caller()


class RequestOptions(Struct, frozen=True):
    """The optional `switchyard` object of a request body. max_calls: of cascades, adaptive policies and panels together."""

    experts: tuple[str, ...] | None = None
    max_cost_usd: float | None = None
    lambda_: float | None = None
    mu: float | None = None
    collection: str | None = None
    session: str | None = None
    explain: bool = False
    max_calls: int | None = None
    progress: Progress = "comments"
    priority: Priority = "interactive"


class Query(Struct, frozen=True):
    """One request to route. `deadline` and `received_at` are `time.monotonic()` seconds.

    body: OpenAI's request body, parsed once, without the `switchyard` object. Never changed in place.
    text: what is routed (the last user turn, preceded by what of system prompt and history fits).
    prompt_tokens: an upper estimate, of the longest input where there are several; other_prompt_tokens: of all the others.
    max_tokens: what was asked for, or the default reserve. num_answers: how many are asked for, to all inputs together.
    session: which conversation it belongs to; it stays with its expert if it `continues` one that was answered before.
    tool_loop: a tool's result came after the last answer, so the conversation can't change its expert.
    tell: takes a line about how it is getting on, where somebody waits to hear it.
    """

    id: str
    kind: Kind
    model: str
    body: Mapping[str, Any]
    text: str
    prompt_tokens: int
    max_tokens: int
    deadline: float
    received_at: float
    needs: frozenset[Capability] = frozenset()
    options: RequestOptions = RequestOptions()
    caller: Caller = ANONYMOUS
    session: str | None = None
    continues: bool = False
    tool_loop: bool = False
    other_prompt_tokens: int = 0
    num_answers: int = 1
    tell: Callable[[str], None] | None = None

    @property
    def stream(self) -> bool:
        return self.kind in STREAMED and self.body.get("stream") is True

    @property
    def remaining_s(self) -> float:
        return self.deadline - time.monotonic()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a loaded expert speaks OpenAI's HTTP. `base_url` ends in `/v1`."""

    base_url: str
    token: str = field(repr=False)


class Call(Struct, frozen=True):
    """One expert's share of a query. `endpoint` is set for experts that hold weights, `colleagues` for those made of others."""

    kind: Kind
    body: Mapping[str, Any]
    deadline: float
    endpoint: Endpoint | None = None
    colleagues: Colleagues | None = None

    @property
    def stream(self) -> bool:
        return self.kind in STREAMED and self.body.get("stream") is True

    @property
    def remaining_s(self) -> float:
        return self.deadline - time.monotonic()


class Usage(Struct):
    """Tokens as the expert counted them; filled in while a stream runs. Zero where it said nothing."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Answer(Struct):
    """What an expert says: a whole JSON `body`, or `events` of an SSE stream; exactly one of the two.

    The `model` field inside already carries the expert's name. `events` yields blocks of one or more whole SSE events, the
    last one ending in `data: [DONE]`; it raises `ExpertError` when the stream breaks, and closing it aborts the expert.
    """

    body: bytes | None = None
    events: AsyncGenerator[bytes, None] | None = None
    usage: Usage = msgspec.field(default_factory=Usage)

    async def aclose(self) -> None:
        if self.events is not None:
            await self.events.aclose()


class Attempt(Struct, frozen=True):
    """One try at one expert. `outcome` is `ok`, `cancelled`, `rejected` or an `errors.FailureKind`; times are seconds.

    wait_s: before the expert was asked: in its queue, for its weights to load, and for the back-off after a failure.
    began_s: when the wait began, in seconds since the request came. cost_usd: by the expert's prices.
    """

    expert: str
    outcome: str
    wait_s: float
    latency_s: float
    message: str = ""
    cost_usd: float = 0.0
    purpose: Purpose = "answer"
    began_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Statement:
    """What was said on the way to a panel's answer. round: `answers`, `judge` and the like, as the aggregator calls it."""

    round: str
    expert: str
    text: str


@dataclass(frozen=True, slots=True)
class ShadowScores:
    """What a router that was not asked for its opinion would have said: expected reward per feasible expert."""

    router: str
    artifact: str | None
    scores: dict[str, float]


class Decision(Struct):
    """The record of one routing; grows while the request runs, and is written to the ledger when it ends.

    scores: expected reward per feasible expert. plan: experts in order of utility. waits_s: expected wait of each expert at
    binding; imposed_s: what its load would have made others wait, of those whose load nobody had asked for yet. propensity:
    probability with which the bound expert was chosen, given scores and waits (1 without exploration). propensities: that of
    each expert that could be bound; none when a conversation stayed with its expert. artifact: the fingerprint of the trained
    router that scored. shadow: what the policy's shadow router would have said. regret: utility given up by binding the expert
    rather than the best whatever the wait; saved_s: expected seconds of waiting that this saved, the query's own and others'.
    infeasible: why each other expert was out. cost_usd: what the attempts cost by the experts' prices.
    confidence: of a cascade's experts in their answers, 0..1, as far as it was asked for. assessments: of a router that has
    experts assess the query, what each found (`routers/families/self_select.py`). transcript: what a panel's members said;
    details: what its aggregator made of that.
    """

    id: str
    created_at: float
    kind: Kind
    model: str
    policy: str
    text: str
    key_id: str
    session: str | None = None
    mode: Mode = "one"
    router: str | None = None
    artifact: str | None = None
    scores: dict[str, float] = {}
    utilities: dict[str, float] = {}
    plan: tuple[str, ...] = ()
    infeasible: dict[str, str] = {}
    reason: str = ""
    propensity: float = 1.0
    propensities: dict[str, float] = {}
    expert: str | None = None
    waits_s: dict[str, float] = {}
    imposed_s: dict[str, float] = {}
    regret: float = 0.0
    saved_s: float = 0.0
    attempts: list[Attempt] = []
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    overhead_ms: float = 0.0
    wait_ms: float = 0.0
    duration_ms: float = 0.0
    status: int = 0
    error: str | None = None
    shadow: ShadowScores | None = None
    confidence: dict[str, float] = {}
    assessments: dict[str, dict[str, float]] = {}
    transcript: list[Statement] = []
    details: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Feedback:
    """What somebody thought of an answer. `score` is a reward in 0..1; `thumbs` is stored as the score 1 or 0."""

    decision_id: str
    score: float | None = None
    comment: str | None = None
    correction: str | None = None
    expert: str | None = None
    key_id: str = "anonymous"
