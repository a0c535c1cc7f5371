"""From a query to a plan: feasible experts, their scores, their prices, and the policy over them.

    plan = await planner.plan(query, fleet, route, decision)      # decision.scores, .plan, .reason are filled in

Nothing here waits for an expert: binding is the dispatcher's, with the waits as they are then.
"""

from __future__ import annotations

import random

from orchestrator.config import PolicySpec
from orchestrator.errors import RequestError
from orchestrator.feasibility import nothing_feasible, split_feasible
from orchestrator.fleet import Fleet, Route
from orchestrator.ledger.base import Ledger
from orchestrator.routing import Sessions
from orchestrator.types import Decision, Query
from routers.policy import Choice, Option, Plan, Settings, make_plan

EXPECTED_COMPLETION_TOKENS = 512
"""No request is priced for more output than this when experts are compared: most end long before their max_tokens."""


class Planner:
    """Makes plans. `dice` draws exploration; `sessions` knows which expert has which conversation."""

    def __init__(self, ledger: Ledger, sessions: Sessions, dice: random.Random) -> None:
        self._ledger = ledger
        self._sessions = sessions
        self._dice = dice

    async def plan(self, query: Query, fleet: Fleet, route: Route, decision: Decision) -> Plan:
        """Feasible experts, best first. Raises `RequestError` when there are none."""
        feasible, decision.infeasible = split_feasible((fleet.specs[name] for name in route.experts), query)
        if not feasible:
            raise nothing_feasible(decision.infeasible, query)
        names = [spec.name for spec in feasible]
        if route.policy is None:
            plan = Plan((Choice(names[0], 0.0),), reason="called by name")
        elif query.kind in ("embedding", "rerank"):
            plan = await self._plan_collection(query, fleet, route.policy, names, decision)
        else:
            scores = await fleet.scorers[route.policy.router, query.kind].scores(query.text)
            decision.scores = {name: scores.get(name, 0.0) for name in names}
            plan = self._rank(query, fleet, route.policy, decision)
        decision.plan = tuple(choice.expert for choice in plan.choices)
        decision.utilities = {choice.expert: choice.utility for choice in plan.choices}
        decision.reason = plan.reason
        return plan

    def _rank(self, query: Query, fleet: Fleet, policy: PolicySpec, decision: Decision) -> Plan:
        """The policy over scored experts, within the request's own limits."""
        decision.router = policy.router
        options = self._affordable(query, fleet, decision)
        settings = _settings(query, policy)
        stay_with = (
            self._sessions.get(query.caller.key_id, query.session) if query.session and query.continues else None
        )
        uniform = self._dice.random() if settings.explore else 1.0
        return make_plan(options, settings, stay_with=stay_with, tool_loop=query.tool_loop, uniform=uniform)

    @staticmethod
    def _affordable(query: Query, fleet: Fleet, decision: Decision) -> list[Option]:
        options = [Option(name, score, cost_cents(fleet, name, query)) for name, score in decision.scores.items()]
        limit = query.options.max_cost_usd
        if limit is None:
            return options
        for option in options:
            if option.cost_cents > limit * 100:
                decision.infeasible[option.expert] = f"would cost about {option.cost_cents / 100:.6f} USD"
        affordable = [option for option in options if option.cost_cents <= limit * 100]
        if not affordable:
            raise RequestError(f"no expert can answer within {limit} USD", param="switchyard.max_cost_usd")
        return affordable

    async def _plan_collection(
        self, query: Query, fleet: Fleet, policy: PolicySpec, names: list[str], decision: Decision
    ) -> Plan:
        """One expert per collection, for good: vectors of two models don't mix. Without a collection, the first."""
        key_id, name = query.caller.key_id, query.options.collection
        if name is None:
            return Plan((Choice(names[0], 0.0),), reason="the first embedding expert: no collection was named")
        expert = await self._ledger.collection(key_id, name)
        if expert is None:
            decision.router = policy.router
            scores = await fleet.scorers[policy.router, query.kind].scores(query.text)
            decision.scores = {candidate: scores.get(candidate, 0.0) for candidate in names}
            best = max(names, key=lambda candidate: decision.scores[candidate])
            expert = await self._ledger.create_collection(key_id, name, best)
        if expert not in names:
            why = decision.infeasible.get(expert, "is no longer in the fleet")
            raise RequestError(
                f"collection '{name}' belongs to {expert}, which {why}",
                param="switchyard.collection",
                code="collection_unavailable",
            )
        return Plan((Choice(expert, 0.0),), reason=f"collection '{name}' belongs to {expert}")

    def stayed(self, query: Query, expert: str) -> None:
        """Remember who has this conversation."""
        if query.session:
            self._sessions.put(query.caller.key_id, query.session, expert)


def cost_cents(fleet: Fleet, expert: str, query: Query) -> float:
    """What the query may cost on `expert`, in US cents, from its declared price."""
    price = fleet.specs[expert].price
    completion_tokens = min(query.max_tokens, EXPECTED_COMPLETION_TOKENS)
    return (query.prompt_tokens * price.input + completion_tokens * price.output) / 1e4


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
