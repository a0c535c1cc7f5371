"""The instruction of each region: written from its demonstrations, or given, and the one chosen that earns most there.

    written = await write_instructions(asker, "smollm2", prompts, demonstrations, count=4)
    chosen = await choose_instructions(trying, mixture, candidates, held_out, per_region=16)

Instruction induction (APE, arXiv 2211.01910) writes candidates, each from another draw of demonstrations. The region-based joint
search of "One Prompt is not Enough" (arXiv 2407.00256) tries each together with its region's demonstrations, on held-out queries of
the region and its neighbours. The reward of the chosen one is that of the best of several, so it flatters. Not here: regions
(`regions.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from orchestrator.config import INSTRUCTION_TOKENS, ExpertBase, PromptsSpec
from orchestrator.errors import LabelError
from orchestrator.experts.prompts import room_tokens
from orchestrator.labelling.asking import Asker
from orchestrator.labelling.base import Grader
from orchestrator.labelling.collecting import Collected, Settings, Step, collect
from orchestrator.labelling.grading import Graded, grade
from orchestrator.labelling.queries import Item
from orchestrator.labelling.quoting import quoted, without_thinking
from orchestrator.labelling.run import Watch, steps
from orchestrator.mixtures.mixture import Demonstration, Mixture, Prompt, fitting, instruction_tokens
from orchestrator.prompts import Prompts
from orchestrator.types import Call
from routers.base import FloatArray

LEAST_OWN = 4
"""A region with fewer held-out queries of its own is tried on as many, with its neighbours'."""
SHOWN = 5
"""Demonstrations that an instruction is written from."""
SHOWN_TOKENS = 768
WRITTEN_TOKENS = 96
"""The longest instruction that is asked for."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Queries that are no demonstrations. vectors: `(n_queries, dimensions)`."""

    items: Sequence[Item]
    vectors: FloatArray


@dataclass(frozen=True, slots=True)
class Chosen:
    """reward: its mean 0..1 on `validated` queries. default_reward: that of the first candidate, on the same queries."""

    instruction: str
    reward: float
    default_reward: float
    validated: int


@dataclass(frozen=True, slots=True)
class Trying:
    """How candidates are tried: with `spec` over `base`, as it would serve them. grader: of the answers."""

    asker: Asker
    spec: PromptsSpec
    base: ExpertBase
    grader: Grader
    settings: Settings
    watch: Watch


@dataclass(frozen=True, slots=True)
class _Trial:
    region: int
    instruction: str
    item: Item


async def write_instructions(
    asker: Asker, expert: str, prompts: Prompts, demonstrations: Sequence[Demonstration], count: int, step: Step
) -> list[str]:
    """Up to `count`: those that are empty or longer than an instruction may be are left out. Raises `SwitchyardError`."""
    dice = np.random.default_rng(0)
    written: list[str] = []
    for _ in range(count):
        drawn = [demonstrations[i] for i in dice.permutation(len(demonstrations))[:SHOWN]]
        examples = "\n\n".join(
            f"{quoted('question', each.query)}\n{quoted('answer', each.answer)}"
            for each in fitting(drawn, SHOWN_TOKENS)
        )
        said = await asker.say(expert, prompts.messages("induction", examples=examples), max_tokens=WRITTEN_TOKENS)
        written.append(" ".join(without_thinking(said or "").split()))
        step()
    return [text for text in written if text and instruction_tokens(text) <= INSTRUCTION_TOKENS]


async def choose_instructions(
    trying: Trying, mixture: Mixture, candidates: Sequence[Sequence[str]], held_out: HeldOut, per_region: int
) -> list[Chosen]:
    """One a region, of its candidates; of equals the first. per_region: on how many held-out queries each is tried.

    Raises `LabelError` unless all could be tried: what was answered is in the journal.
    """
    trials = [
        _Trial(region, instruction, _prompted(trying, mixture, region, instruction, held_out, i))
        for region, texts in enumerate(candidates)
        for i in nearest_queries(mixture, region, held_out.vectors, per_region)
        for instruction in texts
    ]
    items = [trial.item for trial in trials]
    name, specs = trying.base.name, {trying.base.name: trying.base}
    asking = steps("trying", len(items), trying.asker, trying.watch)
    collected = await collect(trying.asker, specs, items, [name], trying.settings, asking)
    graded = await grade(trying.grader, items, collected, steps("grading", len(items), trying.asker, trying.watch))
    _require_whole(collected, graded, name)
    rewards: defaultdict[tuple[int, str], list[float]] = defaultdict(list)
    for trial, by_expert in zip(trials, graded.rewards, strict=True):
        rewards[trial.region, trial.instruction].append((by_expert or {}).get(name, 0.0))
    return [_chosen(region, texts, rewards) for region, texts in enumerate(candidates)]


def nearest_queries(mixture: Mixture, region: int, vectors: FloatArray, count: int) -> NDArray[np.intp]:
    """At most `count`, by their distance to the region's centre: its own, and its neighbours' where those are under `LEAST_OWN`."""
    own = np.array([mixture.region_of(vector) == region for vector in vectors], dtype=np.bool_)
    distances = ((vectors - mixture.centres[region]) ** 2).sum(axis=1)
    return np.lexsort((distances, ~own))[: min(count, max(int(own.sum()), LEAST_OWN))]


def _prompted(trying: Trying, mixture: Mixture, region: int, instruction: str, held_out: HeldOut, i: int) -> Item:
    """A held-out query as the region would ask it."""
    item = held_out.items[i]
    body = {"messages": list(item.messages), "max_tokens": trying.settings.max_tokens}
    room = room_tokens(trying.spec, Call("chat", body, 0.0)) - instruction_tokens(instruction)
    nearest = mixture.nearest(held_out.vectors[i], region, trying.spec.demonstrations)
    messages = Prompt(instruction, fitting(nearest, room)).before([dict(message) for message in item.messages])
    return replace(item, messages=tuple(messages))


def _require_whole(collected: Collected, graded: Graded, expert: str) -> None:
    if collected.budget_spent or graded.budget_spent:
        raise LabelError("--max-cost-usd is spent before all instructions were tried; with more, it goes on from here")
    if failed := collected.failed.get(expert, 0):
        raise LabelError(f"{expert} could not be asked {failed} times: {collected.reasons[expert]}")
    if not graded.is_whole:
        raise LabelError(f"{graded.num_failed} answers could not be graded: {graded.reason}")


def _chosen(region: int, texts: Sequence[str], rewards: dict[tuple[int, str], list[float]]) -> Chosen:
    means = {text: float(np.mean(rewards[region, text])) for text in texts}
    best = max(means, key=lambda text: means[text])
    return Chosen(best, means[best], means[texts[0]], len(rewards[region, best]))
