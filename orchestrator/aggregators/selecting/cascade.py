"""Members one after another, in the panel's order, until an answer may stand: cheap ones first, dear ones only where needed.

    thrifty: {experts: [small, medium, large], aggregator: cascade, confidence: self, threshold: 0.7}
    ladder: {experts: [calculator, small], aggregator: cascade, confidence: usable}
    gated: {experts: [small, medium, large], aggregator: cascade, agree: 2}

An answer stands when it can be used (`usable.py`) and is sure enough: as many of `samples` by the same expert conclude like it
(`agreement`), or its expert (`self`), or the judge (`judge`), says it is right; with `usable`, to be of use is enough. With
`agree`, an answer stands when that many members conclude alike, whatever they think of it. The last member's answer stands anyhow,
streamed as it is written if there is another to fall back on, which is the surest.

FrugalGPT (arXiv 2305.05176), with the checks of AutoMix (arXiv 2310.12963) and of self-consistency cascades (arXiv 2310.03094)
instead of a trained scorer. A policy's cascade (`orchestrator/routing/cascading.py`) picks its experts per query; this one is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from orchestrator.aggregators.base import Combined, Final, MemberAnswer
from orchestrator.aggregators.quorum import refuse_quorum
from orchestrator.aggregators.reading.quoting import quote_to_fit
from orchestrator.aggregators.selecting.vote import camps
from orchestrator.aggregators.table import Table
from orchestrator.config import ExpertBase, PanelSpec
from orchestrator.prompts import Prompts
from routers.cascade import is_sure
from routers.confidence import SAMPLE_TEMPERATURE, agreement
from routers.data.answers import final_answer

CHECK_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Held:
    """An answer that can be used, and how sure it is, 0..1; None where nothing says."""

    answer: MemberAnswer
    confidence: float | None


class Cascade:
    """samples: answers by one expert that are compared, for `agreement`. agree: members that must conclude alike, where given."""

    def __init__(
        self,
        prompts: Prompts,
        confidence: Literal["usable", "agreement", "self", "judge"] = "self",
        threshold: Annotated[float, Field(ge=0, le=1)] = 0.7,
        samples: Annotated[int, Field(ge=2, le=20)] = 3,
        agree: Annotated[int, Field(ge=2)] | None = None,
    ) -> None:
        self._prompts = prompts
        self._confidence = confidence
        self._threshold = threshold
        self._samples = samples
        self._agree = agree

    async def combine(self, table: Table) -> Combined:
        held: list[Held] = []
        story: list[str] = []
        useless = ""
        *early, last = table.members
        while early:
            turn, early = self._turn(early, held)
            for answer in await table.hear(turn):
                if answer.usable:
                    held.append(Held(answer, await self._sureness(table, answer)))
                    story.append(self._told(held[-1]))
                else:
                    useless = useless or answer.text
                    story.append(f"{answer.expert}: {answer.error}")
            if standing := self._standing(held):
                return _stand(standing, held, story, saved=len(early) + 1)
        why = "; ".join([*story, f"and so {last}"])
        text = self._surest(held).text if held else useless
        final = Final(last, table.messages) if text else None
        text = text or (await table.answers([last]))[0].text
        return Combined(text, (last,), why, final=final, details=_details(held, saved=0))

    def check(self, members: Sequence[ExpertBase], panel: PanelSpec) -> None:
        """Raises ValueError where it could never be as the panel says."""
        refuse_quorum(panel, "it stops at the first answer that may stand")
        if self._agree is not None and self._agree >= len(members):
            others = len(members) - 1
            raise ValueError(
                f"agree: expected no more than the {others} before the last member, whose answer stands anyhow, got {self._agree}"
            )

    def _turn(self, early: list[str], held: Sequence[Held]) -> tuple[list[str], list[str]]:
        """Who is asked next, and who is left: as many at once as are needed to agree."""
        size = 1 if self._agree is None else max(1, self._agree - len(_largest_camp(held)))
        return early[:size], early[size:]

    def _standing(self, held: Sequence[Held]) -> Sequence[MemberAnswer]:
        """Those whose answer may stand, the spokesman first; nobody if none may."""
        if self._agree is not None:
            camp = _largest_camp(held)
            return camp if len(camp) >= self._agree else ()
        return [each.answer for each in held[-1:] if is_sure(each.confidence, self._threshold)]

    def _surest(self, held: Sequence[Held]) -> MemberAnswer:
        """What there is where the last member fails."""
        if self._agree is not None:
            return _largest_camp(held)[0]
        return max(held, key=lambda each: each.confidence or 0.0).answer

    async def _sureness(self, table: Table, answer: MemberAnswer) -> float | None:
        """How sure the answer is, found out in the way that was chosen; None where that fails, and where it doesn't matter."""
        if self._agree is not None:
            return None
        if self._confidence == "usable":
            return 1.0
        if self._confidence == "agreement":
            return await self._agreement(table, answer)
        checker = answer.expert if self._confidence == "self" else table.judge
        _, messages = quote_to_fit(
            table,
            checker,
            [answer],
            lambda quoted: self._prompts.messages("check", question=table.question, answer=quoted.text),
            max_tokens=CHECK_TOKENS,
        )
        return (await table.choose(checker, messages, ("yes", "no"), round="check")).get("yes")

    async def _agreement(self, table: Table, answer: MemberAnswer) -> float | None:
        """The share of the same expert's other answers that conclude alike."""
        form = table.call.body.get("response_format")
        samples = await table.sample(
            answer.expert,
            table.messages,
            self._samples - 1,
            round="samples",
            temperature=SAMPLE_TEMPERATURE,
            response_format=form,
        )
        return agreement([final_answer(each.text) for each in (answer, *samples) if each.usable])

    def _told(self, held: Held) -> str:
        expert, confidence = held.answer.expert, held.confidence
        if self._agree is not None:
            return f"{expert} answered"
        if self._confidence == "usable":
            return f"{expert}'s answer can be used"
        if confidence is None:
            return f"nothing says how sure {expert} is"
        verdict = "sure" if is_sure(confidence, self._threshold) else "not sure"
        return f"{expert} is {verdict} ({self._confidence} {confidence:.2f}, threshold {self._threshold:.2f})"


def _largest_camp(held: Sequence[Held]) -> Sequence[MemberAnswer]:
    """Those that conclude as most do; of equal camps the one that was there first."""
    return camps([each.answer for each in held], {})[0].answers if held else ()


def _stand(standing: Sequence[MemberAnswer], held: Sequence[Held], story: Sequence[str], *, saved: int) -> Combined:
    who = tuple(answer.expert for answer in standing)
    agree = [f"{' and '.join(who)} agree"] if len(who) > 1 else []
    why = "; ".join([*story, *agree, f"calls saved: {saved}"])
    return Combined(standing[0].text, who, why, details=_details(held, saved=saved))


def _details(held: Sequence[Held], *, saved: int) -> dict[str, Any]:
    """saved: how many members did not have to be asked."""
    confidence = {each.answer.expert: each.confidence for each in held if each.confidence is not None}
    return {"confidence": confidence, "saved": saved}
