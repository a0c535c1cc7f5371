"""`panels:` of `experts.yaml`, and what a panel is among the fleet's experts.

panels:
  council: {experts: [small, large], aggregator: synthesis, judge: large, budget: {calls: 4}}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.config.base import (
    STREAMS,
    ExpertBase,
    ExpertName,
    NonNegative,
    Positive,
    Price,
    Section,
)
from orchestrator.types import Capability

PANEL_PREFIX = "panel/"
JUDGE_AUTO = "auto"
MAX_PANEL_DEPTH = 3
"""How deep panels may sit in panels."""
WITHOUT_JUDGE = frozenset({"first", "vote", "chain", "fusion_of_experts", "logits", "dynamic_logits", "contrast"})
"""Aggregators that ask no judge."""
OF_TOKENS = frozenset({"logits", "dynamic_logits", "contrast"})
"""Aggregators of next tokens, whose members are in memory together."""
NOT_OF_PANELS: frozenset[Capability] = frozenset({"tools", "logprobs"})
"""What an answer that is made of several can't have."""


class BudgetSpec(Section):
    """What a panel may spend on one request, and never exceeds; None is no limit of its own."""

    calls: Annotated[int, Field(ge=1)] | None = None
    usd: NonNegative | None = None
    seconds: Positive | None = None


class PanelSpec(BaseModel):
    """Several experts and the aggregator that combines them; an expert itself, by the name of `panel/<name>`.

    Members are experts or other panels. judge: who aggregates, where somebody has to; `auto` is whoever was measured to do it best
    (`aggregation`: what `switchyard experts profile --aggregate` wrote), else the first member. quorum: how many usable answers
    there must be. timeout_s: for each round of questions. router: whose scores weigh the members. prompts: a folder of files that
    replace the aggregator's. Every other key is a parameter of the aggregator.
    """

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    experts: Annotated[tuple[ExpertName, ...], Field(min_length=1)]
    aggregator: str = "first"
    judge: ExpertName = JUDGE_AUTO
    aggregation: Path | None = None
    quorum: Annotated[int, Field(ge=1)] = 1
    timeout_s: Positive = 60.0
    budget: BudgetSpec = BudgetSpec()
    router: str | None = None
    prompts: Path | None = None
    description: str = ""
    skills: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()

    @property
    def parameters(self) -> dict[str, Any]:
        """The aggregator's own."""
        return dict(self.model_extra or {})

    @property
    def asks(self) -> tuple[str, ...]:
        """Everybody that it may ask: members, and a judge that is none of them."""
        return tuple(dict.fromkeys((*self.experts, *(() if self.judge == JUDGE_AUTO else (self.judge,)))))


class PanelExpert(ExpertBase):
    """A panel among the fleet's experts; made of `PanelSpec`, never read. members, judges: what is known of those it may ask.

    What it can do, and how long a request it can hold, is asked of its members (`orchestrator/routing/feasibility.py`).
    """

    composite: ClassVar[bool] = True

    name: str
    backend: Literal["panel"] = "panel"
    kind: Literal["chat"] = "chat"
    panel: PanelSpec
    members: tuple[ExpertBase, ...]

    @classmethod
    def of(cls, name: str, panel: PanelSpec, by_name: Mapping[str, ExpertBase]) -> Self:
        """by_name: everybody that the panel asks. It is as dear as all of them together."""
        asked = [by_name[expert] for expert in panel.asks]
        price = Price(input=sum(each.price.input for each in asked), output=sum(each.price.output for each in asked))
        members = tuple(by_name[expert] for expert in panel.experts)
        return cls(
            name=name,
            panel=panel,
            members=members,
            price=price,
            description=panel.description or "; ".join(filter(None, (each.description for each in members))),
            skills=panel.skills or tuple(dict.fromkeys(skill for each in members for skill in each.skills)),
            examples=panel.examples or tuple(dict.fromkeys(text for each in members for text in each.examples)),
            capabilities=STREAMS.union(*(each.capabilities for each in members)) - NOT_OF_PANELS,
        )
