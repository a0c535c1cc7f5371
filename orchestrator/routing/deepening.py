"""Adaptive depth at work: experts that the router can't tell apart are asked at once, and others where these don't agree.

    answer, lease = await deepener.ask(query, fleet, route, plan, decision)     # lease None: the answer is whole, nothing is held

The plan's gate is asked concurrently, and nothing of its answers is sent before it is known whether they conclude alike: then the
best one's stands, as it came. Where they don't, the policy's panel is convened, asked like any expert, live; without one that can
be asked, the best of the others joins a vote, unless it could not change the outcome. Where nothing that was said can be used, the
rest of the plan is asked, with fallback, and all of it again where nobody said a word. All of it stays within `max_cost_usd` and
`max_calls`. Not here: the rules (`routers/depth.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.aggregators.budget import Budget
from orchestrator.config import PANEL_PREFIX, ExpertBase, PolicySpec
from orchestrator.errors import SwitchyardError
from orchestrator.fleet.snapshot import Fleet, Route
from orchestrator.routing.asking import Said
from orchestrator.routing.cascading import hand_over, may_be_asked, stand, unasked, within_limits
from orchestrator.routing.dispatch import Dispatcher
from orchestrator.routing.judging import conclusion_of, why_of_no_use
from orchestrator.routing.pricing import most_usd
from orchestrator.scheduler.base import Lease
from orchestrator.types import Answer, Decision, Purpose, Query
from routers.base import FloatArray
from routers.depth import can_sway, is_settled, stands
from routers.fusing.table import BoolArray
from routers.fusing.voting import alike
from routers.policy import Choice, Plan


@dataclass(frozen=True, slots=True)
class Opinion:
    """What an expert said; None where it failed, with `failure`. why: it can't be used, if it can't."""

    expert: str
    said: Said | None
    why: str | None = None
    failure: SwitchyardError | None = None

    @property
    def conclusion(self) -> str | None:
        """None where it can't be used."""
        return None if self.said is None or self.why is not None else conclusion_of(self.said)


class Vote:
    """Opinions on one query, weighed by what the router expects of each expert. expected: rewards by expert."""

    def __init__(self, opinions: Sequence[Opinion], expected: dict[str, float]) -> None:
        self._opinions = tuple(opinions)
        self._expected = expected

    @property
    def is_settled(self) -> bool:
        return bool(is_settled(*self._ballots(self._opinions)[:2])[0])

    def can_be_swayed_by(self, arbiter: str) -> bool:
        same, asked, expected = self._ballots((*self._opinions, Opinion(arbiter, None)))
        asked[0, -1] = False
        return bool(can_sway(same, asked, np.array([len(self._opinions)]), expected)[0])

    @property
    def winner(self) -> Said | None:
        """The answer that stands; None where none can be used."""
        same, asked, expected = self._ballots(self._opinions)
        elected = self._opinions[int(stands(same, asked, expected)[0])]
        return None if elected.why is not None else elected.said

    @property
    def failure(self) -> SwitchyardError | None:
        """Of the best expert that failed; None where nobody did."""
        return next((opinion.failure for opinion in self._opinions if opinion.failure is not None), None)

    @property
    def first(self) -> Said | None:
        """The best expert's answer, of use or not; None where all failed."""
        return next((opinion.said for opinion in self._opinions if opinion.said is not None), None)

    def _ballots(self, opinions: Sequence[Opinion]) -> tuple[BoolArray, BoolArray, FloatArray]:
        """As `routers.depth` takes them, of one row."""
        conclusions = np.array([[opinion.conclusion for opinion in opinions]], dtype=np.object_)
        expected = np.array([[self._expected[opinion.expert] for opinion in opinions]], dtype=np.float32)
        return alike(conclusions), np.ones(conclusions.shape, dtype=np.bool_), np.nan_to_num(expected)


class Deepener:
    """Asks through `dispatcher`."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def ask(
        self, query: Query, fleet: Fleet, route: Route, plan: Plan, decision: Decision
    ) -> tuple[Answer, Lease | None]:
        """What the gate agrees on, else the panel's answer or what a vote comes to. Raises `SwitchyardError` when nobody answers.

        Cancelling it cancels whoever is being asked.
        """
        assert route.policy is not None
        if query.tell is not None:
            query.tell(plan.reason)
        opinions = await self._gather(within_limits(query, decision), plan.gate, fleet, decision)
        story, vote = [plan.reason, *_told(opinions)], Vote(opinions, decision.scores)
        if vote.is_settled and vote.winner is not None:
            return await stand(vote.winner, query, decision, [*story, "they agree"]), None
        left = within_limits(query, decision)
        if panel := _panel(route.policy, left, fleet):
            convened = Plan((Choice(panel, 0.0),))
            story += [f"they don't agree, and {panel} is convened"]
            return await self._hand_over(left, fleet, route, convened, decision, vote, story)
        rest = unasked(plan, plan.gate, left, fleet)
        if vote.winner is None:
            if vote.first is None and not rest.choices:
                rest = unasked(plan, (), left, fleet)
            return await self._hand_over(
                left, fleet, route, rest, decision, vote, [*story, "and so the best of the others"]
            )
        arbiter = max(rest.choices, key=lambda choice: decision.scores[choice.expert], default=None)
        if arbiter is None or not vote.can_be_swayed_by(arbiter.expert):
            told = [*story, "they don't agree, and nobody else could sway the vote"]
            return await stand(vote.winner, query, decision, told), None
        opinions.append(await self._ask_one(left, arbiter.expert, fleet, decision, "answer"))
        story += [f"they don't agree, and {arbiter.expert} votes too", *_told(opinions[-1:])]
        return await stand(Vote(opinions, decision.scores).winner or vote.winner, query, decision, story), None

    async def _gather(self, query: Query, experts: Sequence[str], fleet: Fleet, decision: Decision) -> list[Opinion]:
        """Everybody's opinion, asked for at once."""
        budget = _for_panels([fleet.specs[name] for name in experts], query)
        asking = [
            asyncio.create_task(self._ask_one(query, name, fleet, decision, "sample", budget)) for name in experts
        ]
        try:
            return await asyncio.gather(*asking)
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    async def _ask_one(
        self,
        query: Query,
        expert: str,
        fleet: Fleet,
        decision: Decision,
        purpose: Purpose,
        budget: Budget | None = None,
    ) -> Opinion:
        """budget: from which a panel spends that is asked along with others."""
        try:
            said = await self._dispatcher.asker.ask(query, expert, fleet, decision, purpose=purpose, budget=budget)
        except SwitchyardError as error:
            return Opinion(expert, None, f"it failed: {error.message}", error)
        return Opinion(expert, said, why_of_no_use(said, query))

    async def _hand_over(
        self,
        query: Query,
        fleet: Fleet,
        route: Route,
        plan: Plan,
        decision: Decision,
        vote: Vote,
        story: Sequence[str],
    ) -> tuple[Answer, Lease | None]:
        """The answer of whom `plan` names, as it comes; what was said before stands where there is none."""
        known = vote.winner or vote.first
        if not plan.choices and known is not None:
            return await stand(known, query, decision, [*story, "but nobody else can be asked"]), None
        if not plan.choices and vote.failure is not None:
            raise vote.failure
        decision.reason = "; ".join(story)
        try:
            return await hand_over(self._dispatcher, query, fleet, route, plan, decision)
        except SwitchyardError as error:
            if known is None:
                raise
            told = [*story, f"but nobody else answered: {error.message}"]
            return await stand(known, query, decision, told), None


def _panel(policy: PolicySpec, query: Query, fleet: Fleet) -> str | None:
    """The policy's panel, if it has one that can serve the query."""
    if policy.panel is None:
        return None
    name = PANEL_PREFIX + policy.panel
    return name if may_be_asked(fleet.specs[name], query) else None


def _for_panels(asked: Sequence[ExpertBase], query: Query) -> Budget:
    """What the panels among `asked` may spend together: what the limits leave once all others have what they may take."""
    others = [spec for spec in asked if not spec.composite]
    calls, usd = query.options.max_calls, query.options.max_cost_usd
    return Budget(
        calls=None if calls is None else max(0, calls - len(others)),
        usd=None if usd is None else max(0.0, usd - sum(most_usd(spec, query) for spec in others)),
    )


def _told(opinions: Sequence[Opinion]) -> list[str]:
    """Whose answer can't be used, and why."""
    return [
        f"{opinion.expert}'s answer can't be used: {opinion.why}" for opinion in opinions if opinion.why is not None
    ]
