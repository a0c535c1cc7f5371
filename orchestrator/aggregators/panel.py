"""A panel as an expert of the fleet: it is asked like any other, and asks its members.

    panels:
      council: {experts: [small, large], aggregator: synthesis, judge: large, budget: {calls: 4, usd: 0.01}}

    answer = await Panel(spec, aggregator).answer(call)           # call.colleagues reaches the members

Members that can't serve the request are left out, with the reason. What it costs is what its members cost. An answer that one
expert writes at the end is streamed as it is written; any other is streamed when it is known. Not here: how members are asked
(`table.py`), and how their answers become one.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Mapping
from typing import Any

from orchestrator.aggregators.base import Aggregator, Combined, Final
from orchestrator.aggregators.budget import Budget, BudgetSpent
from orchestrator.aggregators.choosing import Ability, choose_judge
from orchestrator.aggregators.reading.usable import why_unusable
from orchestrator.aggregators.table import Table
from orchestrator.config import JUDGE_AUTO, PanelExpert, PanelSpec
from orchestrator.errors import ExpertError, NoQuorum, SwitchyardError
from orchestrator.experts.inputs import question_of
from orchestrator.experts.prompted import under_name
from orchestrator.experts.render import Ending, piecewise_answer, text_answer
from orchestrator.types import Answer, Call

_NOT_FOR_A_WRITER = ("messages", "prompt", "model", "echo", "suffix", "best_of", "n")
"""What of the client's body an expert is not told that writes the panel's answer."""


class Panel:
    """spec: the panel among the fleet's experts. ability: of experts as aggregators, by name, as far as it was measured."""

    def __init__(self, spec: PanelExpert, aggregator: Aggregator, ability: Mapping[str, Ability] | None = None) -> None:
        self._spec = spec
        self._aggregator = aggregator
        self._ability = ability

    def unhurried(self) -> Panel:
        """The same without limits of time, for queries that wait for their turn. What it may spend besides stays limited."""
        panel = self._spec.panel
        limits = {"timeout_s": math.inf, "budget": panel.budget.model_copy(update={"seconds": None})}
        spec = self._spec.model_copy(update={"panel": panel.model_copy(update=limits)})
        return Panel(spec, self._aggregator, self._ability)

    async def answer(self, call: Call) -> Answer:
        """The panel's answer. Raises `NoQuorum`, `ExpertRejected` for more than one prompt, and other `SwitchyardError`."""
        assert call.colleagues is not None, "a panel is asked through the dispatcher"
        question = question_of(call, self._spec.name)
        table = await self._table(call, question)
        try:
            combined = await self._aggregator.combine(table)
            return await self._deliver(call, combined, table)
        except ExpertError as error:  # whoever of the members it was, it is the panel that failed
            error.expert = self._spec.name
            raise

    async def _table(self, call: Call, question: str) -> Table:
        """Who sits at it: the members that can serve this request, as many as the quorum at least."""
        assert call.colleagues is not None
        panel, colleagues = self._spec.panel, call.colleagues
        members = colleagues.seated(self._spec)
        if len(members) < panel.quorum:
            raise NoQuorum(f"{len(members)} of {len(panel.experts)} members can serve this", panel=self._spec.name)
        limit = panel.budget
        table = Table(
            colleagues,
            call,
            question,
            members,
            judge=panel.judge,
            budget=Budget(calls=limit.calls, usd=limit.usd, within=colleagues.budget),
            dice=random.Random(colleagues.id),
            quorum=panel.quorum,
            timeout_s=panel.timeout_s,
            until=None if limit.seconds is None else time.monotonic() + limit.seconds,
            router=panel.router,
        )
        if panel.judge == JUDGE_AUTO:
            table.judge, _ = choose_judge(members, self._ability, await table.scores())
        return table

    async def _deliver(self, call: Call, combined: Combined, table: Table) -> Answer:
        """The answer in the form that was asked for. Where its writer fails before the first word, what there is stands."""
        assert call.colleagues is not None
        name, note = self._spec.name, ""
        if combined.final is not None:
            try:
                return await self._written(call, combined, table)
            except (SwitchyardError, BudgetSpent) as error:
                if not combined.text.strip():
                    raise _as_no_quorum(error, name) from error
                note = f"; {combined.final.expert} could not write it: {error}"
        call.colleagues.conclude(_reason(self._spec.panel, combined, table) + note, combined.details)
        if combined.pieces is not None:
            ending = Ending(call.colleagues.usage)
            return await piecewise_answer(call, name, combined.pieces(ending), ending)
        ended = table.finish_reason(combined.text)
        return text_answer(call, name, combined.text, call.colleagues.usage, finish_reason=ended)

    async def _written(self, call: Call, combined: Combined, table: Table) -> Answer:
        """What the final expert writes, live if a stream of one answer was asked for."""
        final, colleagues = combined.final, call.colleagues
        assert final is not None and colleagues is not None
        body, spent = self._writers_body(call, final), colleagues.usage
        live = call.stream and call.kind == "chat" and (call.body.get("n") or 1) == 1
        try:
            async with asyncio.timeout(table.left_s):
                if live:
                    with table.reserve(final.expert, body):
                        answer = await colleagues.open(final.expert, body, purpose="aggregation", budget=table.budget)
                    colleagues.conclude(_reason(self._spec.panel, combined, table), combined.details)
                    return await under_name(answer, self._spec.name, spent)
                heard = await table.write(final.expert, body)
        except TimeoutError as exc:
            raise ExpertError(final.expert, "timeout", "no answer in the time that was left") from exc
        fault = why_unusable(heard.text, finish_reason=heard.finish_reason, body=call.body)
        if fault and (combined.text.strip() or not heard.text.strip()):
            raise ExpertError(final.expert, "malformed", fault)
        colleagues.conclude(_reason(self._spec.panel, combined, table), combined.details)
        usage, ended = colleagues.usage, heard.finish_reason
        return text_answer(call, self._spec.name, heard.text, usage, finish_reason=ended)

    @staticmethod
    def _writers_body(call: Call, final: Final) -> dict[str, Any]:
        """The client's body, with what the writer is told in place of the conversation."""
        asked = {name: value for name, value in call.body.items() if name not in _NOT_FOR_A_WRITER}
        given = {"max_tokens": final.max_tokens, "temperature": final.temperature}
        return {**asked, "messages": list(final.messages)} | {k: v for k, v in given.items() if v is not None}


def _as_no_quorum(error: SwitchyardError | BudgetSpent, panel: str) -> NoQuorum:
    """Nobody is left to write the answer, and there is none to fall back on."""
    cause = error if isinstance(error, SwitchyardError) else None
    return NoQuorum(f"nobody could write the answer: {error}", causes=(cause,), panel=panel)


def _reason(panel: PanelSpec, combined: Combined, table: Table) -> str:
    """How the answer came about, and why members are missing from it."""
    reason = f"{panel.aggregator}: {combined.why}; rests on {', '.join(combined.who)}"
    if table.missing:
        reason += f"; without {', '.join(f'{expert} ({why})' for expert, why in table.missing.items())}"
    return reason
