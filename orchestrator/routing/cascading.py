"""A cascade at work: an answer is held back until it is judged, and another expert asked where that one is not sure of it.

    answer, lease = await cascader.ask(query, fleet, route, plan, decision)     # lease None: the answer is whole, nothing is held

Every step is a lease, and an attempt with its cost in the decision. Nothing of a held answer is sent; one that stands is
sent as it came, a stream as the same stream, but for the usage: that is what everybody used. The last step is asked like any
expert, with fallback, and streams as it writes. It is asked only within `max_cost_usd` and `max_calls`; where it may not be, or
fails, the surest of the held answers stands: better than none. Where unusable answers are tried again (`retry_unusable`) the last
is held like the others, and of none that can be used the first stands; where all failed they are asked again. Not here: who is
asked first (`routers/cascade.py`), and how sure an expert is (`judging.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec.structs import replace

from orchestrator.config import ExpertBase, PanelExpert, PolicySpec
from orchestrator.errors import SwitchyardError
from orchestrator.experts.prompted import NOTHING, under_name
from orchestrator.fleet.snapshot import Fleet, Route
from orchestrator.routing.asking import Said
from orchestrator.routing.dispatch import Dispatcher
from orchestrator.routing.feasibility import infeasible_because, what_is_left
from orchestrator.routing.judging import Held, Judge, Turn, calls_per_answer
from orchestrator.scheduler.base import Lease
from orchestrator.types import Answer, Decision, Query, Usage
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
        failure: SwitchyardError | None = None
        for expert in plan.rungs if route.policy.retry_unusable else plan.rungs[:-1]:
            left = within_limits(query, decision)
            if not may_be_asked(fleet.specs[expert], left, calls_per_answer(route.policy)):
                continue
            try:
                answer = await self._judge.answer(Turn(left, expert, fleet, route.policy, decision))
            except SwitchyardError as error:
                failure = error
                story.append(f"{expert} failed: {error.message}")
                continue
            held.append(answer)
            story.append(_told(answer, route.policy))
            if answer.confidence is not None:
                decision.confidence[expert] = answer.confidence
            if is_sure(answer.confidence, route.policy.threshold):
                return await stand(answer.said, query, decision, story), None
        return await self._ask_the_rest(query, fleet, route, plan, decision, held, story, failure)

    async def _ask_the_rest(
        self,
        query: Query,
        fleet: Fleet,
        route: Route,
        plan: Plan,
        decision: Decision,
        held: list[Held],
        story: list[str],
        failure: SwitchyardError | None,
    ) -> tuple[Answer, Lease | None]:
        """The best of the experts that were not asked, or what is held where none of them answers. failure: the last rung's."""
        assert route.policy is not None
        surest = max(held, key=lambda answer: answer.confidence or 0.0, default=None)
        if surest is not None and route.policy.retry_unusable:
            return await stand(surest.said, query, decision, [*story, f"and so {surest.said.expert}'s stands"]), None
        query = within_limits(query, decision)
        rest = unasked(plan, plan.rungs if route.policy.retry_unusable else plan.rungs[:-1], query, fleet)
        if not rest.choices and surest is not None:
            told = [*story, "and nobody else fits the request's limits"]
            return await stand(surest.said, query, decision, told), None
        rest = rest if rest.choices else unasked(plan, (), query, fleet)
        if not rest.choices and failure is not None:
            raise failure
        decision.reason = "; ".join([*story, "and so the best of the others"])
        try:
            return await hand_over(self._dispatcher, query, fleet, route, rest, decision)
        except SwitchyardError as error:
            if surest is None:
                raise
            told = [*story, f"and nobody else answered: {error.message}"]
            return await stand(surest.said, query, decision, told), None


def unasked(plan: Plan, asked: Collection[str], query: Query, fleet: Fleet) -> Plan:
    """The plan with those alone that are not in `asked` and can serve `query`."""
    others = (choice for choice in plan.choices if choice.expert not in asked)
    fitting = (choice for choice in others if may_be_asked(fleet.specs[choice.expert], query))
    return replace(plan, choices=tuple(fitting), ranking=())


def within_limits(query: Query, decision: Decision) -> Query:
    """The query with what its limits leave, on cost and on calls, of what was asked so far.

    Each call counts, whatever became of it, but for those by which a router has experts assess the query.
    """
    query = what_is_left(query, decision.cost_usd)
    most = query.options.max_calls
    if most is None:
        return query
    calls = sum(attempt.purpose not in ("assessment", "panel") for attempt in decision.attempts)
    return replace(query, options=replace(query.options, max_calls=max(0, most - calls)))


def may_be_asked(spec: ExpertBase, query: Query, calls: int = 1) -> bool:
    """Whether `spec` can serve the query within its limits. calls: how many it takes, of each member that a panel needs."""
    most = query.options.max_calls
    needed = calls * (spec.panel.quorum if isinstance(spec, PanelExpert) else 1)
    return (most is None or needed <= most) and infeasible_because(spec, query) is None


async def stand(said: Said, query: Query, decision: Decision, story: Sequence[str]) -> Answer:
    """Let a held answer stand. Its usage is what everybody used."""
    decision.expert = said.expert
    decision.reason = "; ".join(story)
    prompt_tokens = decision.prompt_tokens - said.usage.prompt_tokens
    completion_tokens = decision.completion_tokens - said.usage.completion_tokens
    return await _with_usage(said.answer(query.body), said.expert, Usage(prompt_tokens, completion_tokens))


async def hand_over(
    dispatcher: Dispatcher, query: Query, fleet: Fleet, route: Route, plan: Plan, decision: Decision
) -> tuple[Answer, Lease]:
    """The answer of whom `plan` names, as it comes, within the limits that are left; its usage is shown with what others used.

    Raises `SwitchyardError`.
    """
    most = query.options.max_calls
    attempts = route.max_attempts if most is None else min(route.max_attempts, most)
    answer, lease = await dispatcher.ask(query, fleet, plan, decision, max_attempts=attempts)
    if fleet.specs[lease.expert].composite:  # its usage is that of all in the record
        return answer, lease
    spent = Usage(decision.prompt_tokens, decision.completion_tokens)
    return await _with_usage(answer, lease.expert, spent), lease


async def _with_usage(answer: Answer, expert: str, spent: Usage) -> Answer:
    """The answer, showing `spent` as well as what it used, if it shows usage; what it is charged for stays its own."""
    if spent == NOTHING:
        return answer
    return replace(await under_name(answer, expert, spent), usage=answer.usage)


def _told(answer: Held, policy: PolicySpec) -> str:
    expert, confidence, threshold = answer.said.expert, answer.confidence, policy.threshold
    if policy.holds_by == "usable":
        return f"{expert}'s answer can't be used: {answer.why}" if answer.why else f"{expert}'s answer can be used"
    if confidence is None:
        return f"{expert}'s {policy.confidence} say nothing of how sure it is"
    verdict = "is sure" if is_sure(confidence, threshold) else "is not sure"
    return f"{expert} {verdict} ({policy.confidence} {confidence:.2f}, threshold {threshold:.2f})"
