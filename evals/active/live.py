"""Real experts, asked adaptively: what `switchyard experts profile` does.

    async with running(config_path) as service:
        profile = await run(service, Job(Path("Q.jsonl"), "exact", journal=Path("Q.jsonl.journal")))
    profile.sentences                              # ("best: large", "this is about all queries like these, ...")

Experts, answers, graders and journal are those of `switchyard label`, whose journals can be used: what was answered once is never
paid for again, and the same job goes the same way again. An expert is asked a whole batch of queries before the next is loaded.
Not here: which queries (`registry.py`), the terminal (`orchestrator/commands/profile.py`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evals.active.base import Goal, Problem, Verdict, affordable
from evals.active.crossings import find_crossings
from evals.active.evidence import interval
from evals.active.paying import Payer
from evals.active.registry import make_sampler
from evals.active.words import Names, crossing_sentences, sentences
from orchestrator.errors import LabelError
from orchestrator.labelling.asking import Asker
from orchestrator.labelling.base import Grader, Tools
from orchestrator.labelling.collecting import Settings
from orchestrator.labelling.journal import Journal
from orchestrator.labelling.queries import Item, read_items
from orchestrator.labelling.registry import make_grader
from orchestrator.labelling.run import Watch, check_items, text_experts, unwatched
from orchestrator.service import Service
from routers.base import FloatArray

SAMPLER: Mapping[Goal, str] = {"best": "best_arm", "ranking": "active_ranking", "best-by-group": "best_arm_by_group"}
FINITE_RANKING = "mean_ranking"
"""Active ranking assumes what is never quite so of a few queries."""
RELATIVE = "pairwise"
"""The reward that depends on who else was asked, so that a query's can't be bought one by one."""
NO_GROUP = "(no group)"


@dataclass(frozen=True, slots=True)
class Job:
    """experts: None means all that answer in text. budget: calls in all, over every run. max_cost_usd: of all in the journal.

    finite: decide about these queries alone, rather than about all queries like them.
    """

    queries: Path
    reward: str
    journal: Path
    experts: tuple[str, ...] | None = None
    goal: Goal = "best"
    delta: float = 0.05
    finite: bool = False
    budget: int | None = None
    max_cost_usd: float | None = None
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """One expert. reward: 0..1, mean of what it was asked, None without any; low, high: where the mean over all queries like these
    lies, wrong at most 5 times in 100. Groups that were asked more than others count as in the file.

    latency_p50_s: of whole answers; tokens_per_s: of an answer; None where nothing is known. num_unusable: answers
    that are none, which earn 0.
    """

    expert: str
    calls: int
    reward: float | None
    low: float
    high: float
    latency_p50_s: float | None
    tokens_per_s: float | None
    cost_usd: float
    num_unusable: int


@dataclass(frozen=True, slots=True)
class Profile:
    """sentences: the verdict, in words. num_asked: calls that this run made rather than found in the journal.

    cost_usd: of everything, judges and earlier runs included. notes: what is missing, and why.
    """

    goal: Goal
    decided: bool
    experts: tuple[ProfileRow, ...]
    sentences: tuple[str, ...]
    num_calls: int
    num_asked: int
    cost_usd: float
    notes: tuple[str, ...]


async def run(service: Service, job: Job, watch: Watch = unwatched) -> Profile:
    """Do the job. Raises `LabelError`, before any expert is asked for answers, where queries, reward or experts can't be used."""
    items = list(read_items(job.queries))
    random.Random(0).shuffle(items)
    with Journal.open(job.journal) as journal:
        asker = Asker(service, journal, max_cost_usd=job.max_cost_usd)
        experts = text_experts(asker, service, job.experts)
        payer = Payer(service, asker, await _grader(job, asker, items), job.settings, items, experts)
        problem, groups = _problem(job, items, len(experts))
        verdict = await _decide(problem, job, payer, watch)
        return _report(verdict, problem, job, payer, Names(experts, groups))


async def _decide(problem: Problem, job: Job, payer: Payer, watch: Watch) -> Verdict:
    """Step by step, until it is known, or nothing more can be paid for."""
    name = FINITE_RANKING if job.finite and job.goal == "ranking" else SAMPLER[job.goal]
    sampler = make_sampler(name, problem, job.goal)
    most = payer.rewards.size if job.budget is None else job.budget
    while True:
        step = sampler.advance(payer.rewards)
        pairs = affordable(step.pairs, most - payer.num_calls)
        watch("asking", payer.num_calls, most, payer.asker.cost_usd)
        if not len(pairs) or payer.stopped:
            return step.verdict
        await payer.pay(pairs)


async def _grader(job: Job, asker: Asker, items: Sequence[Item]) -> Grader:
    if job.reward.partition(":")[0] == RELATIVE:
        raise LabelError(f"'{job.reward}' compares all experts on a query; expected a reward of single answers")
    grader = await make_grader(job.reward, Tools(asker))
    check_items(grader, items, job.queries)
    return grader


def _problem(job: Job, items: Sequence[Item], num_experts: int) -> tuple[Problem, tuple[str, ...]]:
    """With the names of the groups."""
    names = [item.group or NO_GROUP for item in items]
    if job.goal == "best-by-group" and set(names) == {NO_GROUP}:
        raise LabelError(f"{job.queries}: no query has a 'group'; the goal best-by-group needs them")
    groups = tuple(sorted(set(names)))
    numbers = np.array([groups.index(name) for name in names], dtype=np.intp)
    return Problem(num_experts, numbers, delta=job.delta, finite=job.finite), groups


def _report(verdict: Verdict, problem: Problem, job: Job, payer: Payer, names: Names) -> Profile:
    about = f"these {len(payer.items)} queries" if job.finite else "all queries like these"
    return Profile(
        goal=job.goal,
        decided=verdict.decided,
        experts=tuple(_row(payer, column, _strata(problem, job)) for column in range(len(payer.experts))),
        sentences=sentences(verdict, names, delta=job.delta, about=about),
        num_calls=payer.num_calls,
        num_asked=payer.asker.num_asked,
        cost_usd=payer.asker.cost_usd,
        notes=tuple(_notes(verdict, problem, job, payer, names)),
    )


def _notes(verdict: Verdict, problem: Problem, job: Job, payer: Payer, names: Names) -> Iterator[str]:
    """What whoever reads the verdict should know, one line each."""
    if not verdict.crossings:
        yield from crossing_sentences(find_crossings(payer.rewards, problem, job.delta), names)
    for expert, reason in payer.failed.items():
        yield f"{expert} failed: {reason}"
    if payer.stopped:
        yield f"stopped: {payer.stopped}; the same command goes on from here"
    elif verdict.decided:
        return
    elif job.budget is not None and payer.num_calls >= job.budget:
        yield f"the budget of {job.budget} calls is spent; a larger one goes on from here"
    else:
        yield "they are equal on these queries" if job.finite else "every query was asked; more queries would tell more"


def _strata(problem: Problem, job: Job) -> list[NDArray[np.intp]]:
    """The queries, by group where some groups are asked more than others."""
    if job.goal == "best" or (job.goal == "ranking" and job.finite):
        return [np.arange(len(problem.groups))]
    return [problem.members(group) for group in range(problem.num_groups)]


def stratified(rewards: FloatArray, strata: Sequence[NDArray[np.intp]]) -> tuple[float | None, float, float]:
    """Mean reward and its 95% interval, each stratum counting by its number of queries, however many of them were asked."""
    known = [part[~np.isnan(part)] for part in (rewards[queries] for queries in strata)]
    sizes = np.array([len(queries) for queries in strata])
    asked = np.array([len(part) > 0 for part in known])
    means = np.array([part.mean() if len(part) else 0.0 for part in known])
    low, high = (sizes / sizes.sum()) @ [interval(part, 0.05 / len(strata)) for part in known]
    return float(means @ sizes / sizes[asked].sum()) if asked.any() else None, float(low), float(high)


def _row(payer: Payer, column: int, strata: Sequence[NDArray[np.intp]]) -> ProfileRow:
    expert = payer.experts[column]
    said = payer.said[expert]
    measured = [each.measured for each in said if each.measured]
    seconds = sum(each["latency_s"] for each in measured)
    reward, low, high = stratified(payer.rewards[:, column], strata)
    return ProfileRow(
        expert=expert,
        calls=len(said),
        reward=reward,
        low=low,
        high=high,
        latency_p50_s=float(np.median([each["latency_s"] for each in measured])) if measured else None,
        tokens_per_s=sum(each["completion_tokens"] for each in measured) / seconds if seconds else None,
        cost_usd=sum(each.cost_usd for each in said),
        num_unusable=sum(each.text is None for each in said),
    )
