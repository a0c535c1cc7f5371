"""Which experts can make one answer of several: what `switchyard experts profile --aggregate` does.

    async with running(config_path) as service:
        found = await run(service, Job(Path("O.jsonl"), journal=Path("aggregation.json.journal")))
    found.judges["large"]                          # Ability(n=200, accuracy=0.71, low=0.63, high=0.78)

Candidates get several recorded answers to a query, as the aggregator `synthesis` quotes them, and write the final answer. Of use
are queries on which some of these answers are right and others wrong: there an aggregator shows what it is good for (Symbolic-MoE,
arXiv 2503.05641, chooses its aggregator by the ability to select the correct answers). All get the same prompts, once. Not here:
asking (`orchestrator/labelling/`), and who is chosen (`orchestrator/aggregators/choosing.py`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from evals.active.evidence import interval
from orchestrator.aggregators.base import MemberAnswer
from orchestrator.aggregators.choosing import Ability
from orchestrator.aggregators.reading.quoting import quote
from orchestrator.aggregators.talking.synthesis import writing_prompt
from orchestrator.errors import LabelError
from orchestrator.labelling.asking import Asker
from orchestrator.labelling.base import Tools
from orchestrator.labelling.collecting import Settings, collect
from orchestrator.labelling.grading import grade
from orchestrator.labelling.journal import Journal
from orchestrator.labelling.queries import Item
from orchestrator.labelling.registry import make_grader
from orchestrator.labelling.run import Watch, steps, text_experts, unwatched
from orchestrator.prompts import Prompts, read_prompts
from orchestrator.service import Service
from routers.base import Outcome
from routers.data.outcomes import OutcomeError, read_outcomes

MAX_QUERIES = 200
"""Unless more are asked for; an interval is then about 0.15 wide."""
SHOWN = 4
"""Answers to a query that are quoted at most."""
QUOTED_TOKENS = 1000
"""What they may take together, by estimate."""


@dataclass(frozen=True, slots=True)
class Job:
    """data: outcomes with answers and targets. judges: the candidates; None means all that answer in text.

    limit: how many queries. max_cost_usd: of all in the journal.
    """

    data: Path
    journal: Path
    judges: tuple[str, ...] | None = None
    limit: int = MAX_QUERIES
    max_cost_usd: float | None = None
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True, slots=True)
class Abilities:
    """judges: by name, those who answered anything. num_asked: calls that this run made. notes: what is missing, and why."""

    judges: dict[str, Ability]
    num_queries: int
    num_asked: int
    cost_usd: float
    notes: tuple[str, ...]


async def run(service: Service, job: Job, watch: Watch = unwatched) -> Abilities:
    """Do the job. Raises `LabelError`, before anybody is asked, where the outcomes or the candidates can't be used."""
    items = questions(job.data, job.limit)
    with Journal.open(job.journal) as journal:
        asker = Asker(service, journal, max_cost_usd=job.max_cost_usd)
        judges = text_experts(asker, service, job.judges)
        step = steps("asking", len(items) * len(judges), asker, watch)
        collected = await collect(asker, service.fleet.specs, items, judges, job.settings, step)
        grader = await make_grader("exact", Tools(asker))
        graded = await grade(grader, items, collected, steps("grading", len(items), asker, watch))
        notes = [
            f"{judge} failed {count} times: {collected.reasons[judge]}" for judge, count in collected.failed.items()
        ]
        if collected.budget_spent:
            notes.append("stopped: the next call might exceed --max-cost-usd; the same command goes on from here")
        earned = {
            judge: [rewards[judge] for rewards in graded.rewards if rewards and judge in rewards] for judge in judges
        }
        abilities = {judge: _ability(rewards) for judge, rewards in earned.items() if rewards}
        return Abilities(abilities, len(items), asker.num_asked, asker.cost_usd, tuple(notes))


def questions(data: Path, limit: int) -> list[Item]:
    """What candidates are asked, each with the target. Raises `LabelError` when the outcomes have nothing to aggregate."""
    try:
        outcomes = list(read_outcomes(data))
    except OutcomeError as exc:
        raise LabelError(str(exc)) from exc
    random.Random(0).shuffle(outcomes)
    prompts = read_prompts("synthesis")
    found = [item for outcome in outcomes if (item := _question(outcome, prompts)) is not None][:limit]
    if not found:
        raise LabelError(
            f"{data}: expected outcomes with a 'target' and 'answers' of which some are right and others wrong"
        )
    return found


def _question(outcome: Outcome, prompts: Prompts) -> Item | None:
    """The query with some of its answers, at least one right and one wrong; None where there are none such."""
    dice = random.Random(outcome.query)
    if outcome.target is None or not (shown := list(_shown(outcome, dice))):
        return None
    quoted = quote(shown, dice, max_tokens=QUOTED_TOKENS)
    messages = writing_prompt(prompts, outcome.query, quoted, {})
    return Item(query=outcome.query, messages=tuple(messages), target=outcome.target)


def _shown(outcome: Outcome, dice: random.Random) -> Iterator[MemberAnswer]:
    """A right answer, a wrong one, and others by lot."""
    said = [(name, text) for name, text in outcome.answers.items() if text and name in outcome.rewards]
    dice.shuffle(said)
    said.sort(key=lambda each: outcome.rewards[each[0]])
    if len(said) < 2 or outcome.rewards[said[0][0]] >= 0.5 or outcome.rewards[said[-1][0]] < 0.5:
        return
    others = said[1:-1]
    for name, text in (said[0], said[-1], *dice.sample(others, min(len(others), SHOWN - 2))):
        yield MemberAnswer(name, text)


def _ability(rewards: Sequence[float]) -> Ability:
    values = np.array(rewards, dtype=np.float32)
    low, high = interval(values)
    return Ability(len(values), float(values.mean()), low, high)
