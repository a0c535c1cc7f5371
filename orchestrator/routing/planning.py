"""From a query to a plan: feasible experts, their scores, their prices, and the policy over them.

    plan = await planner.plan(query, fleet, route, decision)      # decision.scores, .plan, .reason are filled in

Nothing here waits for an expert, unless the router has experts assess the query: binding is the dispatcher's, with the waits as
they are then.
"""

from __future__ import annotations

import random

from msgspec.structs import replace

from orchestrator.config import ExpertBase, PanelExpert, PolicySpec
from orchestrator.errors import RequestError
from orchestrator.fleet.snapshot import Fleet, Route
from orchestrator.ledger.base import Ledger
from orchestrator.routing.assessing import Assessor
from orchestrator.routing.colleagues import CALLED_BY_NAME
from orchestrator.routing.feasibility import not_for_panels, nothing_feasible, out_of_scope, seated, split_feasible
from orchestrator.routing.judging import calls_per_answer, judgeable
from orchestrator.routing.pricing import expected_cents, expected_tokens
from orchestrator.routing.scoring import Scorer, Sessions
from orchestrator.types import Decision, Query
from routers.cascade import climb, retry
from routers.data.costs import CostModel
from routers.depth import Depth, deepen
from routers.policy import Choice, Option, Plan, Settings, make_plan

_COLLECTED = ("embedding", "rerank")


class Planner:
    """Makes plans. `dice` draws exploration; `sessions` knows which expert has which conversation."""

    def __init__(self, ledger: Ledger, sessions: Sessions, dice: random.Random, assessor: Assessor) -> None:
        self._ledger = ledger
        self._assessor = assessor
        self._sessions = sessions
        self._dice = dice

    async def plan(self, query: Query, fleet: Fleet, route: Route, decision: Decision) -> Plan:
        """Feasible experts, best first. Raises `RequestError` when there are none."""
        if route.is_panel:
            return _seat(query, fleet, route, decision)
        specs = [fleet.specs[name] for name in route.experts]
        if query.kind == "embedding" and query.options.collection is None:
            specs = _without_collection(specs, query)
        feasible, decision.infeasible = split_feasible(specs, query)
        if not feasible:
            raise nothing_feasible(decision.infeasible, query)
        names = [spec.name for spec in feasible]
        if query.kind in _COLLECTED and query.options.collection is not None:
            plan = await self._plan_collection(query, query.options.collection, fleet, route, names, decision)
        elif route.policy is None:
            plan = Plan((Choice(names[0], 0.0),), reason=CALLED_BY_NAME)
        elif query.kind in _COLLECTED:
            plan = Plan((Choice(names[0], 0.0),), reason=f"the first {query.kind} expert: no collection was named")
        else:
            scorer = await self._score(query, fleet, route.policy, names, decision)
            plan = self._rank(query, fleet, route.policy, scorer.costs, decision)
        decision.plan = tuple(choice.expert for choice in plan.choices)
        decision.utilities = {choice.expert: choice.utility for choice in plan.choices}
        decision.reason = plan.reason
        decision.mode = "adaptive" if plan.gate else "cascade" if plan.rungs else "one"
        return plan

    async def _score(
        self, query: Query, fleet: Fleet, policy: PolicySpec, names: list[str], decision: Decision
    ) -> Scorer:
        """Put down in `decision` what the policy's router says of these experts; returns who was asked."""
        scorer = fleet.scorers[policy.router, query.kind]
        decision.router, decision.artifact = policy.router, scorer.artifact
        if scorer.asks_experts:
            decision.assessments = await self._assessor.assess(query, fleet, names, decision)
            scores = scorer.assessed(decision.assessments)
        else:
            scores = await scorer.scores(query.text, query.remaining_s)
        decision.scores = {name: scores.get(name, 0.0) for name in names}
        return scorer

    def _rank(
        self, query: Query, fleet: Fleet, policy: PolicySpec, costs: CostModel | None, decision: Decision
    ) -> Plan:
        """The policy over scored experts. A conversation that a cascade has taken to a better expert stays there."""
        tokens = expected_tokens(query)
        options = [
            Option(name, score, expected_cents(fleet.specs[name], query, tokens, costs))
            for name, score in decision.scores.items()
        ]
        settings = _settings(query, policy)
        stay_with = (
            self._sessions.get(query.caller.key_id, query.session) if query.session and query.continues else None
        )
        uniform = self._dice.random() if settings.explore else 1.0
        plan = make_plan(options, settings, stay_with=stay_with, tool_loop=query.tool_loop, uniform=uniform)
        stays = plan.choices[0].expert == stay_with
        if (stays and query.tool_loop) or query.num_answers > 1:
            return plan
        match policy.mode:
            case "one":
                most = _within(policy.max_attempts, query)
                return retry(plan, most) if policy.retry_unusable else plan
            case "adaptive":
                return _deepened(plan, query, fleet, policy, decision)
        can_be_judged = judgeable((fleet.specs[option.expert] for option in options), query, policy)
        cents = {option.expert: option.cost_cents for option in options}
        steps = _steps(policy, query)
        climbed = climb(plan, cents, judgeable=can_be_judged, steps=steps) if steps > 1 else plan
        return plan if stays and stay_with not in climbed.rungs[:1] else climbed

    async def _plan_collection(
        self, query: Query, collection: str, fleet: Fleet, route: Route, names: list[str], decision: Decision
    ) -> Plan:
        """One expert per collection, for good: vectors of two models don't mix. A new collection is `pin`ned later."""
        expert = await self._ledger.collection(query.caller.key_id, query.kind, collection)
        if expert is None:
            if route.policy is not None:
                await self._score(query, fleet, route.policy, names, decision)
            best = max(names, key=lambda candidate: decision.scores.get(candidate, 0.0))
            return Plan((Choice(best, 0.0),), reason=f"{best} is the best for the new collection '{collection}'")
        if expert not in names:
            absent = f"'{query.model}' does not stand for" if expert in fleet.specs else "is no longer in the fleet"
            raise RequestError(
                f"collection '{collection}' belongs to {expert}, which {decision.infeasible.get(expert, absent)}",
                param="switchyard.collection",
                code="collection_unavailable",
            )
        return Plan((Choice(expert, 0.0),), reason=f"collection '{collection}' belongs to {expert}")

    async def pin(self, query: Query, expert: str) -> bool:
        """Give the query's collection, if it has one, to the expert that has answered; False when another's came first."""
        collection = query.options.collection
        if collection is None or query.kind not in _COLLECTED:
            return True
        of = (query.caller.key_id, query.kind, collection)
        owner = await self._ledger.collection(*of) or await self._ledger.create_collection(*of, expert)
        return owner == expert

    def stayed(self, query: Query, expert: str) -> None:
        """Remember who has this conversation. Another that begins with the same words doesn't move it."""
        of = (query.caller.key_id, query.session or "")
        if query.session and (query.continues or self._sessions.get(*of) is None):
            self._sessions.put(*of, expert)


def _seat(query: Query, fleet: Fleet, route: Route, decision: Decision) -> Plan:
    """A panel that is called by name, with those of its members that can serve `query` put down in `decision`.

    Raises `RequestError` when they are no quorum, and for what only a single expert's answer can have.
    """
    spec = fleet.specs[route.name]
    assert isinstance(spec, PanelExpert)
    decision.mode, decision.reason = "panel", CALLED_BY_NAME
    if query.kind not in spec.serves:
        raise _refusal(f"a panel answers in words, and this is a request for {query.kind}", "model")
    if field := not_for_panels(query):
        raise _refusal(f"a panel's answer is made of several, which {field} can't be; call one expert", field)
    feasible, decision.infeasible = seated(spec, query)
    if len(feasible) < spec.panel.quorum:
        raise nothing_feasible(decision.infeasible, query)
    decision.plan = tuple(member.name for member in feasible)
    return Plan((Choice(route.name, 0.0),), reason=CALLED_BY_NAME)


def _refusal(message: str, param: str) -> RequestError:
    return RequestError(message, param=param, code="no_feasible_expert")


def _without_collection(specs: list[ExpertBase], query: Query) -> list[ExpertBase]:
    """The one expert whose vectors everybody gets who names no collection: it may not depend on the text, not even its length."""
    first = next((spec for spec in specs if query.kind in spec.serves and not out_of_scope(spec, query)), None)
    return specs if first is None else [first]


def _within(calls: int, query: Query) -> int:
    """`calls`, or as many as the request allows."""
    most = query.options.max_calls
    return calls if most is None else min(calls, most)


def _steps(policy: PolicySpec, query: Query) -> int:
    """How many experts a cascade may climb, where all but the last are asked as often as it takes to judge their answers."""
    most = query.options.max_calls
    return policy.steps if most is None else min(policy.steps, 1 + (most - 1) // calls_per_answer(policy))


def _deepened(plan: Plan, query: Query, fleet: Fleet, policy: PolicySpec, decision: Decision) -> Plan:
    """The plan with the gate that fits the limits; without one where these leave nobody to agree with."""
    width = _within(policy.width, query)
    if width < 2:
        return plan
    deep = deepen(plan, decision.scores, Depth(policy.sure, policy.top_p, width))
    affordable, _ = split_feasible((fleet.specs[name] for name in deep.gate), query, together=True)
    if deep.gate and len(affordable) < 2:
        return plan
    return replace(deep, gate=tuple(spec.name for spec in affordable))


def _settings(query: Query, policy: PolicySpec) -> Settings:
    """The policy's settings, narrowed by the request's own."""
    lambda_, mu = query.options.lambda_, query.options.mu
    return Settings(
        lambda_=policy.lambda_ if lambda_ is None else lambda_,
        mu=policy.mu if mu is None else mu,
        explore=policy.explore,
        near_tie=policy.near_tie,
        stay=policy.stay,
    )
