"""What a labelling run comes to: what each expert earned and cost, what is missing from it, and whether the judge can be gamed.

    report.experts[0]                             # Summary(expert='small', reward=0.62, num_graded=500, ...)
    report.to_json(), report.notes()

Not here: intervals and comparisons, which are for `switchyard evaluate` and `train`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.labelling.asking import Asker
from orchestrator.labelling.collecting import Collected
from orchestrator.labelling.gaming import GAMED, Probes
from orchestrator.labelling.grading import Graded
from routers.base import Outcome


@dataclass(frozen=True, slots=True)
class Summary:
    """One expert. reward: the mean over `num_graded` queries, None without any. num_unusable: answers that are none.

    num_failed: queries that it could not be asked. cost_usd: of its answers, not of judging them.
    """

    expert: str
    reward: float | None
    num_graded: int
    num_unusable: int
    num_failed: int
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Report:
    """cost_usd: of everything, judges and earlier runs included. num_asked: calls that this run made.

    num_ungraded: answers that the judge had no verdict on. probes: mean reward of answers that say nothing. reasons: why what is
    missing is missing, the first one each.
    """

    out: Path
    num_queries: int
    num_written: int
    experts: tuple[Summary, ...]
    cost_usd: float
    num_asked: int
    num_ungraded: int
    budget_spent: bool
    probes: Mapping[str, float]
    reasons: Mapping[str, str]

    @property
    def complete(self) -> bool:
        """Whether every expert was asked every query, and everything graded that a judge had words for."""
        return not self.budget_spent and not self.reasons

    @property
    def gamed_by(self) -> tuple[str, ...]:
        return tuple(name for name, reward in self.probes.items() if reward >= GAMED)

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {**asdict(self), "out": str(self.out), "complete": self.complete, "gamed_by": list(self.gamed_by)}

    def notes(self) -> Iterator[str]:
        """What whoever uses the output should know, one line each."""
        if self.budget_spent:
            yield f"stopped at {self.cost_usd:.4f} USD: the next call might exceed --max-cost-usd; a higher one goes on from here"
        for what, reason in self.reasons.items():
            yield f"{what}: {reason}; run this again to try what is missing"
        if self.num_ungraded:
            yield f"{self.num_ungraded} answers have no reward: the judge's replies hold no verdict on them"
        for name in self.gamed_by:
            yield f"this judge can be gamed: the constant answer '{name}' earns {self.probes[name]:.2f} on average"


def make_report(
    out: Path,
    outcomes: Sequence[Outcome],
    collected: Collected,
    graded: Graded,
    probes: Probes,
    asker: Asker,
    *,
    num_queries: int,
) -> Report:
    reasons = {f"{expert} failed {n} times": collected.reasons[expert] for expert, n in collected.failed.items()}
    if graded.num_failed:
        reasons[f"{graded.num_failed} queries are not graded"] = graded.reason
    if probes.reason:
        reasons["whether the judge can be gamed is not known"] = probes.reason
    return Report(
        out=out,
        num_queries=num_queries,
        num_written=len(outcomes),
        experts=tuple(_summary(expert, collected, graded) for expert in collected.experts),
        cost_usd=asker.cost_usd,
        num_asked=asker.num_asked,
        num_ungraded=sum(_has_no_reward(graded.rewards[i], expert) for i, expert in collected.said),
        budget_spent=collected.budget_spent or graded.budget_spent,
        probes=probes.means,
        reasons=reasons,
    )


def _has_no_reward(rewards: Mapping[str, float] | None, expert: str) -> bool:
    """Whether a query was graded, and this answer to it was not."""
    return rewards is not None and expert not in rewards


def _summary(expert: str, collected: Collected, graded: Graded) -> Summary:
    rewards = [of_query[expert] for of_query in graded.rewards if of_query and expert in of_query]
    said = [said for (_, name), said in collected.said.items() if name == expert]
    return Summary(
        expert=expert,
        reward=sum(rewards) / len(rewards) if rewards else None,
        num_graded=len(rewards),
        num_unusable=sum(each.text is None for each in said),
        num_failed=collected.failed.get(expert, 0),
        cost_usd=sum(each.cost_usd for each in said),
    )
