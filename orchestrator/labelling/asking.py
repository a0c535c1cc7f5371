"""Experts asked in bulk, under leases like the gateway's requests: each call once, no more at a time than an expert takes, and no
more than may be spent.

    asker = Asker(service, journal, max_cost_usd=5.0)
    said = await asker.answer("gpt-large", item, max_tokens=1024)         # Said(text='391', cost_usd=0.0003)

The same call is one that reaches the same model with the same body. Answers go into the journal; failures, which may pass, don't,
and are tried again by a later run. A panel costs what its members do, and has a limit only by its own `budget: {usd: ...}`. These
are not decisions: the ledger doesn't see them. Not here: in which order things are asked.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from orchestrator.aggregators.budget import Budget as PanelBudget
from orchestrator.bulk.waves import places
from orchestrator.config import ExpertBase, LiteLLMSpec, OpenAISpec, PanelExpert
from orchestrator.errors import AllExpertsFailed, ExpertError, LabelError, RateLimited, RequestError
from orchestrator.experts.envelope import answer_text
from orchestrator.gateway.requests import make_query
from orchestrator.labelling.budget import Budget, most_usd_of_panel
from orchestrator.labelling.journal import Entry, Journal
from orchestrator.labelling.queries import Item
from orchestrator.routing.dispatch import Dispatcher
from orchestrator.routing.feasibility import infeasible_because
from orchestrator.routing.pricing import cost_usd, most_usd
from orchestrator.routing.recording import open_decision
from orchestrator.scheduler.base import LeaseOutcome
from orchestrator.scheduler.rules import SERVED_CONCURRENCY
from orchestrator.service import Service
from orchestrator.tokens import estimate
from orchestrator.types import Answer, Decision, Kind, Query
from routers.policy import Choice, Plan

MAX_ATTEMPTS = 5
REMOTE_CONCURRENCY = 8
"""At once, of experts elsewhere that declare no limit."""
LEAST_ANSWER_TOKENS = 16
"""An expert whose context leaves less room than this is not asked."""
NOT_ITS_KIND = frozenset({"not_applicable", "context_length_exceeded", "content_filter", "content_policy_violation"})
"""Rejections that answer the question how good the expert is here; others say that the request was made wrongly."""
_SAME_MODEL = {
    "name",
    "backend",
    "kind",
    "model",
    "base_url",
    "tokenizer",
    "pooling",
    "command",
    "args",
    "options",
    "base",
}
_SAME_MODEL |= {"system", "identity", "prompts", "artifact", "demonstrations", "prompt_tokens"}
_SAME_MODEL |= {"callable", "answers", "column", "parameters"}
_NOT_OF_ITS_ANSWERS = {"description", "skills", "examples"}
"""What a panel may change without another answer."""

Read = Callable[[bytes], str | float | None]


@dataclass(frozen=True, slots=True)
class Said:
    """What an expert answered, and what that cost; text None is an answer that can't be used.

    measured: `latency_s`, from the expert being asked to its whole answer, and `completion_tokens`, where that is known.
    """

    text: str | None
    cost_usd: float
    measured: Mapping[str, float] = field(default_factory=dict)


class Asker:
    """Satisfies `labelling.base.Asks`. max_cost_usd: of everything in the journal; None means no limit."""

    def __init__(self, service: Service, journal: Journal, *, max_cost_usd: float | None = None) -> None:
        self._service = service
        self._journal = journal
        self._budget = Budget(journal, max_cost_usd)
        self._replicas = Counter(status.expert for status in service.scheduler.status())
        self._dispatcher = Dispatcher(service.scheduler, random.Random())
        self._room = {name: asyncio.Semaphore(self.at_once(name)) for name in service.fleet.specs}
        self._underway: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.num_asked = 0
        """Calls that were answered in this run, rather than found in the journal."""

    @property
    def cost_usd(self) -> float:
        """What everything has cost, earlier runs included."""
        return self._journal.cost_usd

    def require(self, expert: str, kind: Kind) -> None:
        self.spec(expert, kind)

    def spec(self, expert: str, kind: Kind = "chat") -> ExpertBase:
        """Raises `LabelError` for one that isn't there, doesn't serve such requests, or whose cost has no limit under one."""
        specs = self._service.fleet.specs
        able = [
            name
            for name, spec in specs.items()
            if kind in spec.serves or (kind == "chat" and "completion" in spec.serves)
        ]
        if expert not in able:
            reason = f"serves {specs[expert].kind} requests" if expert in specs else "is no expert"
            raise LabelError(f"'{expert}' {reason}; expected one of {', '.join(able) or 'none that the fleet has'}")
        spec = specs[expert]
        if self._budget.is_limited and isinstance(spec, PanelExpert) and most_usd_of_panel(spec) is None:
            raise LabelError(f"'{expert}' has no `budget` in `usd`, so that --max-cost-usd can't be kept with it")
        return spec

    def at_once(self, expert: str) -> int:
        """How many calls an expert is given at once; where it may have replicas, enough to have them loaded."""
        spec = self._service.fleet.specs[expert]
        host = self._service.fleet.specs[spec.host]
        if (replicas := self._replicas[host.name]) > 1:
            return places(replicas) // 2  # a batch may be running beside it
        assumed = SERVED_CONCURRENCY if host.holds_weights else REMOTE_CONCURRENCY
        return min(limits.concurrency or assumed for limits in (spec.limits, host.limits))

    async def answer(self, expert: str, item: Item, *, max_tokens: int, temperature: float | None = None) -> Said:
        """What an expert answers to a query. Raises `BudgetSpent`, and `SwitchyardError` when it can't be asked now."""
        return _said(await self._call(*self._request(expert, item.messages, max_tokens, temperature), _text))

    def remembered(self, expert: str, item: Item, *, max_tokens: int, temperature: float | None = None) -> Said | None:
        """What an expert answered to the same query before; None when it wasn't asked."""
        entry = self._journal.get(self._key(*self._request(expert, item.messages, max_tokens, temperature)))
        return None if entry is None else _said(entry)

    async def say(self, expert: str, messages: Sequence[Mapping[str, Any]], *, max_tokens: int) -> str | None:
        return _said(await self._call(*self._request(expert, messages, max_tokens, 0.0), _text)).text

    async def cosine(self, expert: str, first: str, second: str) -> float:
        read = partial(_cosine, expert)
        entry = await self._call(self.spec(expert, "embedding"), "embedding", {"input": [first, second]}, read)
        return float(entry.value or 0.0)

    def _request(
        self, expert: str, messages: Sequence[Mapping[str, Any]], max_tokens: int, temperature: float | None
    ) -> tuple[ExpertBase, Kind, dict[str, Any]]:
        """An expert that only completes text gets what the messages say as a prompt."""
        spec = self.spec(expert)
        body: dict[str, Any] = {"max_tokens": max_tokens}
        if temperature is not None:
            body["temperature"] = temperature
        if "chat" in spec.serves:
            return spec, "chat", {"messages": list(messages), **body}
        prompt = "\n\n".join(str(message.get("content") or "") for message in messages)
        return spec, "completion", {"prompt": prompt, **body}

    async def _call(self, spec: ExpertBase, kind: Kind, body: dict[str, Any], read: Read) -> Entry:
        key = self._key(spec, kind, body)
        async with self._underway[key]:
            entry = self._journal.get(key) or await self._ask(key, self._query(spec, kind, body), spec, read)
        self._underway.pop(key, None)
        return entry

    def _key(self, spec: ExpertBase, kind: Kind, body: Mapping[str, Any]) -> str:
        return hashlib.sha256(msgspec.json.encode([self._models(spec), kind, body], order="sorted")).hexdigest()

    def _models(self, spec: ExpertBase) -> list[Any]:
        """All that an expert's answers come from; a panel's come from everybody that it may ask."""
        specs = self._service.fleet.specs
        models: list[Any] = [each.model_dump(mode="json", include=_SAME_MODEL) for each in (spec, specs[spec.host])]
        if isinstance(spec, PanelExpert):
            models.append(spec.panel.model_dump(mode="json", exclude=_NOT_OF_ITS_ANSWERS))
            models += [self._models(specs[name]) for name in spec.panel.asks]
        return models

    def _query(self, spec: ExpertBase, kind: Kind, body: dict[str, Any]) -> Query:
        """As the gateway would read it, behind its own requests, and with an answer no longer than the expert's context allows.

        There is time for a cold start, and for those that were asked before.
        """
        timeouts = spec.timeouts
        rounds = MAX_ATTEMPTS + self.at_once(spec.name) // SERVED_CONCURRENCY
        timeout_s = timeouts.load_s + rounds * timeouts.first_byte_s
        query = make_query(kind, {"model": spec.name, **body}, received_at=time.monotonic(), timeout_s=timeout_s)
        query = replace(query, options=replace(query.options, priority="bulk"))
        if spec.context is None or not query.max_tokens:
            return query
        room = max(spec.context - query.prompt_tokens, LEAST_ANSWER_TOKENS)
        if room >= query.max_tokens:
            return query
        return replace(query, max_tokens=room, body={**query.body, "max_tokens": room})

    async def _ask(self, key: str, query: Query, spec: ExpertBase, read: Read) -> Entry:
        if infeasible_because(spec, query):
            return Entry(spec.name, None)
        async with self._room[spec.host]:
            limit = most_usd_of_panel(spec) if isinstance(spec, PanelExpert) else most_usd(spec, query)
            most = await self._budget.reserve(limit or 0.0)
            decision = open_decision(query)
            try:
                answered = await self._dispatch(query, spec, decision, PanelBudget(usd=limit))
                entry = _entry(spec, query, answered, decision.cost_usd, read)
                self._journal.add(key, entry)
                self.num_asked += 1
            except BaseException:  # however a panel failed, what its members were paid is spent
                if decision.cost_usd:
                    self._journal.add(f"{key} {query.id}", Entry(spec.name, None, decision.cost_usd))
                raise
            finally:
                await self._budget.release(most)
        return entry

    async def _dispatch(
        self, query: Query, spec: ExpertBase, decision: Decision, limit: PanelBudget
    ) -> tuple[Answer, float] | None:
        """The expert's answer and its seconds; None when it says that this is not for it, or says what was not asked for.

        limit: on what a panel spends in all attempts together.
        """
        plan = Plan((Choice(spec.name, 0.0),))
        try:
            answer, lease = await self._dispatcher.ask(
                query, self._service.fleet, plan, decision, max_attempts=MAX_ATTEMPTS, budget=limit
            )
        except RateLimited:
            raise
        except RequestError as error:
            if error.code in NOT_ITS_KIND:
                return None
            raise
        except AllExpertsFailed:
            if _is_unusable(spec, decision):
                return None
            raise
        latency_s = decision.attempts[-1].latency_s
        self._service.scheduler.release(lease, LeaseOutcome(ok=True, duration_s=latency_s))
        return answer, latency_s


def _is_unusable(spec: ExpertBase, decision: Decision) -> bool:
    """Whether the model itself gave nothing that can be used. Rubbish from elsewhere is more likely a proxy's."""
    remote = isinstance(spec, OpenAISpec | LiteLLMSpec)
    return not remote and bool(decision.attempts) and decision.attempts[-1].outcome == "malformed"


def _entry(
    spec: ExpertBase, query: Query, answered: tuple[Answer, float] | None, charged_usd: float, read: Read
) -> Entry:
    """Its cost is by the expert's count of tokens, or by an estimate where it doesn't count; a panel's is what was charged for."""
    if answered is None:
        return Entry(spec.name, None, charged_usd)
    answer, latency_s = answered
    value, usage = read(answer.body or b"{}"), answer.usage
    prompt_tokens = usage.prompt_tokens or query.prompt_tokens + query.other_prompt_tokens
    completion_tokens = usage.completion_tokens or (estimate(value) if isinstance(value, str) else 0)
    measured = {"latency_s": latency_s, "completion_tokens": float(completion_tokens)}
    cost = charged_usd if spec.composite else cost_usd(spec.price, prompt_tokens, completion_tokens)
    return Entry(spec.name, value, cost, measured)


def _said(entry: Entry) -> Said:
    return Said(None if entry.value is None else str(entry.value), entry.cost_usd, entry.measured)


def _text(body: bytes) -> str | None:
    text: Any = answer_text(msgspec.json.decode(body))
    return text if isinstance(text, str) and text.strip() else None


def _cosine(expert: str, body: bytes) -> float:
    try:
        first, second = (np.asarray(each["embedding"], dtype=np.float64) for each in msgspec.json.decode(body)["data"])
        product = float(first @ second)
    except (KeyError, TypeError, ValueError) as exc:
        raise ExpertError(expert, "malformed", f"{expert} did not answer two texts with two vectors") from exc
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    return product / norms if norms else 0.0
