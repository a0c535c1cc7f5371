"""A cascade at work: an answer is held back until it is judged, and another expert asked where that one is not sure of it.

    answer, lease = await cascader.ask(query, fleet, route, plan, decision)     # lease None: the answer is whole, nothing is held

Every step is a lease, and an attempt with its cost in the decision. Nothing of a held answer is sent; one that stands is
sent as it came, a stream as the same stream. The last step is asked like any expert, with fallback, and streams as it writes. It
is asked only within `max_cost_usd`; where it may not be, or fails, the surest of the held answers stands: better than none. Where
unusable answers are tried again (`retry_unusable`) the last is held like the others, and of none that can be used the first stands.
Not here: who is asked first (`routers/cascade.py`), and how sure an expert is (`judging.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from orchestrator.config import PolicySpec
from orchestrator.errors import SwitchyardError
from orchestrator.fleet.snapshot import Fleet, Route
from orchestrator.routing.asking import Said
from orchestrator.routing.dispatch import Dispatcher
from orchestrator.routing.feasibility import infeasible_because, what_is_left
from orchestrator.routing.judging import Held, Judge, Turn
from orchestrator.scheduler.base import Lease
from orchestrator.types import Answer, Decision, Query
from routers.cascade import is_sure
from routers.policy import Plan


class Cascader:
    """Takes a plan's rungs one after another."""

    def __init__(self, dispatcher: Dispatcher, judge: Judge) -> None:
        self._dispatcher = dispatcher
        self._judge = judge

    async def ask(
        self, query: Query, fleet: Fleet, route: Route, plan: Plan, decision: Decision
    ) -> tuple[Answer, Lease | None]:
        """The first answer that its expert is sure of, else the last expert's. Raises `SwitchyardError` when nobody answers.

        Cancelling it cancels whoever is being asked.
        """
        assert route.policy is not None
        held: list[Held] = []
        story: list[str] = []
        for expert in plan.rungs if route.policy.retry_unusable else plan.rungs[:-1]:
            affordable = what_is_left(query, decision.cost_usd)
            if infeasible_because(fleet.specs[expert], affordable) is not None:
                continue
            try:
                answer = await self._judge.answer(Turn(affordable, expert, fleet, route.policy, decision))
            except SwitchyardError as error:
                story.append(f"{expert} failed: {error.message}")
                continue
            held.append(answer)
            story.append(_told(answer, route.policy))
            if answer.confidence is not None:
                decision.confidence[expert] = answer.confidence
            if is_sure(answer.confidence, route.policy.threshold):
                return stand(answer.said, query, decision, story), None
        return await self._ask_the_rest(query, fleet, route, plan, decision, held, story)

    async def _ask_the_rest(
        self,
        query: Query,
        fleet: Fleet,
        route: Route,
        plan: Plan,
        decision: Decision,
        held: list[Held],
        story: list[str],
    ) -> tuple[Answer, Lease | None]:
        """The best of the experts that were not asked, or what is held where none of them answers."""
        assert route.policy is not None
        surest = max(held, key=lambda answer: answer.confidence or 0.0, default=None)
        if surest is not None and route.policy.retry_unusable:
            return stand(surest.said, query, decision, [*story, f"and so {surest.said.expert}'s stands"]), None
        query = what_is_left(query, decision.cost_usd)
        rest = unasked(plan, plan.rungs[:-1], query, fleet)
        if surest is not None and not rest.choices:
            return stand(surest.said, query, decision, [*story, "and nobody else fits the cost limit"]), None
        decision.reason = "; ".join([*story, "and so the best of the others"])
        try:
            return await self._dispatcher.ask(query, fleet, rest, decision, max_attempts=route.max_attempts)
        except SwitchyardError as error:
            if surest is None:
                raise
            return stand(surest.said, query, decision, [*story, f"and nobody else answered: {error.message}"]), None


def unasked(plan: Plan, asked: Collection[str], query: Query, fleet: Fleet) -> Plan:
    """The plan with those alone that are not in `asked` and can serve `query`."""
    others = (choice for choice in plan.choices if choice.expert not in asked)
    fitting = (choice for choice in others if infeasible_because(fleet.specs[choice.expert], query) is None)
    return replace(plan, choices=tuple(fitting), ranking=())


def stand(said: Said, query: Query, decision: Decision, story: Sequence[str]) -> Answer:
    """Let a held answer stand."""
    decision.expert = said.expert
    decision.reason = "; ".join(story)
    return said.answer(query.body)


def _told(answer: Held, policy: PolicySpec) -> str:
    expert, confidence, threshold = answer.said.expert, answer.confidence, policy.threshold
    if policy.holds_by == "usable":
        return f"{expert}'s answer can't be used: {answer.why}" if answer.why else f"{expert}'s answer can be used"
    if confidence is None:
        return f"{expert}'s {policy.confidence} say nothing of how sure it is"
    verdict = "is sure" if is_sure(confidence, threshold) else "is not sure"
    return f"{expert} {verdict} ({policy.confidence} {confidence:.2f}, threshold {threshold:.2f})"
