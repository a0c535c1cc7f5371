"""What an importer is: one file in, trials out; and how trials become outcomes.

    def trials(path: Path) -> Iterator[Trial | LeftOut]: ...          # the one function of each module of this package

    merge([Trial("Which?", "small", 1.0), Trial("Which?", "large", 0.0)]).outcomes
    # (Outcome(query='Which?', rewards={'small': 1.0, 'large': 0.0}),)

Formats that keep a file per model say the same query many times, so all distinct queries of an import are in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from routers.base import Outcome


@dataclass(frozen=True, slots=True)
class Trial:
    """One expert tried on one query. reward: 0..1. cost: in USD. answer: None where it is not known or not usable."""

    query: str
    expert: str
    reward: float
    id: str | None = None
    group: str | None = None
    split: str | None = None
    cost: float | None = None
    answer: str | None = None
    target: str | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row of which no trial can be made, and why, worded so that equal reasons can be counted."""

    reason: str


Importer = Callable[[Path], Iterator[Trial | LeftOut]]


@dataclass(frozen=True, slots=True)
class Imported:
    """The outcomes, how many rows were left out by reason, and how many trials repeated another and were averaged with it."""

    outcomes: tuple[Outcome, ...]
    left_out: Mapping[str, int]
    num_repeats: int

    @property
    def experts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(expert for outcome in self.outcomes for expert in outcome.rewards))


@dataclass(slots=True)
class _Cell:
    """All trials of one expert on one query."""

    rewards: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    answer: str | None = None


def merge(trials: Iterable[Trial | LeftOut]) -> Imported:
    """One outcome for every query (of one group and id); repetitions of an expert on it give the mean reward and cost."""
    cells: dict[tuple[str | None, str | None, str], dict[str, _Cell]] = {}
    first: dict[tuple[str | None, str | None, str], Trial] = {}
    left_out: Counter[str] = Counter()
    num_repeats = 0
    for trial in trials:
        if isinstance(trial, LeftOut):
            left_out[trial.reason] += 1
            continue
        key = (trial.group, trial.id, trial.query)
        first.setdefault(key, trial)
        cell = cells.setdefault(key, {}).setdefault(trial.expert, _Cell())
        num_repeats += bool(cell.rewards)
        cell.rewards.append(trial.reward)
        cell.costs += [] if trial.cost is None else [trial.cost]
        cell.answer = trial.answer if cell.answer is None else cell.answer
    outcomes = tuple(_outcome(first[key], tried) for key, tried in cells.items())
    return Imported(outcomes, left_out, num_repeats)


def _outcome(first: Trial, tried: Mapping[str, _Cell]) -> Outcome:
    return Outcome(
        query=first.query,
        rewards={expert: fmean(cell.rewards) for expert, cell in tried.items()},
        id=first.id,
        group=first.group,
        split=first.split,
        costs={expert: fmean(cell.costs) for expert, cell in tried.items() if cell.costs},
        answers={expert: cell.answer for expert, cell in tried.items() if cell.answer is not None},
        target=first.target,
    )
