"""A mixture of prompts from examples: regions, demonstrations, and an instruction for each region.

    built = await build(Job(data=Path("O.jsonl"), out=Path("prompts/math"), expert="smollm2"), encoder, service)

Without an expert every region has the same instruction. With one, a share of the examples is held out to try instructions on; then
all examples are demonstrations. Everything that was asked is in `DIR.journal`, so an interrupted build goes on where it was. Not
here: the terminal (`orchestrator/commands/prompts.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from orchestrator.config import INSTRUCTION_TOKENS, ExpertBase, PromptedBase, PromptsSpec
from orchestrator.errors import LabelError
from orchestrator.labelling.asking import Asker
from orchestrator.labelling.base import Tools
from orchestrator.labelling.collecting import Settings
from orchestrator.labelling.journal import Journal
from orchestrator.labelling.registry import check_reward, make_grader
from orchestrator.labelling.run import Watch, check_items, steps, unwatched
from orchestrator.mixtures.artifact import Region, save_mixture
from orchestrator.mixtures.examples import Example, read_examples
from orchestrator.mixtures.instructions import Chosen, HeldOut, Trying, choose_instructions, write_instructions
from orchestrator.mixtures.mixture import Mixture, instruction_tokens
from orchestrator.mixtures.regions import find_regions
from orchestrator.prompts import Prompts, read_prompts
from orchestrator.service import Service
from routers.artifact import require_replaceable
from routers.base import Encoder, FloatArray
from routers.data.splits import query_hash

HELD_OUT_SHARE = 0.3
"""Of the examples, to try instructions on."""
MOST_TRIED = 32
"""Held-out queries that an instruction is tried on, where there are more."""


@dataclass(frozen=True, slots=True)
class Job:
    """What `switchyard prompts build` is told.

    regions: None to choose their number. demonstrations: shown to a query while instructions are tried. instructions: candidates,
    tried beside those that `expert` writes, of which there are `candidates` a region. prompts: a folder that replaces shipped ones.
    """

    data: Path
    out: Path
    regions: int | None = None
    demonstrations: int = 4
    instructions: tuple[str, ...] = ()
    expert: str | None = None
    reward: str = "exact"
    candidates: int = 4
    max_calls: int = 500
    max_cost_usd: float | None = None
    settings: Settings = field(default_factory=lambda: Settings(max_tokens=256, temperature=0.0))
    prompts: Path | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """chosen: one a region, None where nothing was tried. num_asked: calls of this run; cost_usd: of all runs."""

    out: str
    fingerprint: str
    num_held_out: int
    regions: tuple[Region, ...]
    chosen: tuple[Chosen | None, ...]
    num_asked: int
    cost_usd: float
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Pool:
    """Examples with their vectors, `(n_examples, dimensions)`."""

    examples: Sequence[Example]
    vectors: FloatArray

    def rows(self, wanted: Sequence[int]) -> _Pool:
        return _Pool([self.examples[i] for i in wanted], self.vectors[list(wanted)])

    def mixture(self, centres: FloatArray, instructions: Sequence[str]) -> Mixture:
        """All of them as demonstrations of the regions that they are nearest to."""
        # A vector's own square is the same for all centres.
        regions = ((centres**2).sum(axis=1) - 2.0 * self.vectors @ centres.T).argmin(axis=1)
        demonstrations = tuple(example.demonstration for example in self.examples)
        return Mixture(tuple(instructions), centres, demonstrations, self.vectors, regions)


async def build(job: Job, encoder: Encoder, service: Service | None = None, watch: Watch = unwatched) -> Built:
    """Build it and write it. service: where `job.expert` is. Raises `LabelError`, and ValueError for what the user gave."""
    require_replaceable(job.out)
    check_reward(job.reward)
    examples, notes = read_examples(job.data, job.reward)
    prompts = read_prompts("mixture", job.prompts)
    given = _given(job, prompts)
    vectors = await asyncio.to_thread(encoder.encode, [example.item.query for example in examples])
    pool = _Pool(examples, vectors)
    if job.expert is None:
        centres = find_regions(vectors, job.regions)
        mixture = pool.mixture(centres, given * len(centres))
        fingerprint, regions = _write(job, mixture, encoder, [None] * len(centres))
        notes = (*notes, f"every region has the instruction '{given[0]}'; --expert NAME chooses one for each")
        return Built(str(job.out), fingerprint, 0, regions, (None,) * len(centres), 0, 0.0, notes)
    assert service is not None, "an expert is asked through its service"
    job.out.parent.mkdir(parents=True, exist_ok=True)
    with Journal.open(job.out.with_name(f"{job.out.name}.journal")) as journal:
        asker = Asker(service, journal, max_cost_usd=job.max_cost_usd)
        base = _base(asker, job.expert)
        train, held = _parts(pool, job)
        centres = find_regions(train.vectors, job.regions)
        held_out = HeldOut([example.item for example in held.examples], held.vectors)
        trained = train.mixture(centres, given[:1] * len(centres))
        chosen = await _search(job, asker, base, trained, given, held_out, prompts, watch)
        mixture = pool.mixture(centres, [each.instruction for each in chosen])
        fingerprint, regions = _write(job, mixture, encoder, chosen)
        asked = (asker.num_asked, asker.cost_usd)
        return Built(str(job.out), fingerprint, len(held.examples), regions, tuple(chosen), *asked, notes)


def _given(job: Job, prompts: Prompts) -> tuple[str, ...]:
    """The instructions that every region may have, the default first; without an expert the one that all have."""
    given = (prompts.text("default"), *job.instructions)
    if job.expert is None and job.instructions:
        given = job.instructions
        if len(given) > 1:
            raise LabelError(f"there are {len(given)} instructions to choose from, and no --expert to try them with")
    for text in given:
        if (tokens := instruction_tokens(text)) > INSTRUCTION_TOKENS:
            raise LabelError(f"the instruction '{text[:60]}...' takes {tokens} tokens, expected {INSTRUCTION_TOKENS}")
    return tuple(dict.fromkeys(given))


def _base(asker: Asker, name: str) -> ExpertBase:
    """The expert that a mixture can stand on. Raises `LabelError`."""
    spec = asker.spec(name)
    if isinstance(spec, PromptedBase) or "chat" not in spec.serves:
        raise LabelError(f"--expert {name}: expected an expert that chats and has no base itself")
    return spec


def _parts(pool: _Pool, job: Job) -> tuple[_Pool, _Pool]:
    """Demonstrations, and what is held out: the queries with the lowest hashes."""
    order = sorted(range(len(pool.examples)), key=lambda i: query_hash(pool.examples[i].item.query))
    num_held = round(HELD_OUT_SHARE * len(order))
    if not num_held:
        raise LabelError(f"{job.data}: {len(order)} examples are too few to hold some out and try instructions on them")
    return pool.rows(sorted(order[num_held:])), pool.rows(sorted(order[:num_held]))


async def _search(
    job: Job,
    asker: Asker,
    base: ExpertBase,
    mixture: Mixture,
    given: Sequence[str],
    held_out: HeldOut,
    prompts: Prompts,
    watch: Watch,
) -> list[Chosen]:
    """The instruction of each region of `mixture`."""
    grader = await make_grader(job.reward, Tools(asker))
    check_items(grader, held_out.items, job.data)
    num_regions = len(mixture.instructions)
    per_region = _per_region(job, num_regions, len(given))
    writing = steps("writing", num_regions * job.candidates, asker, watch)
    candidates = []
    for region in range(num_regions):
        inside = [mixture.demonstrations[i] for i in np.flatnonzero(mixture.regions == region)]
        written = await write_instructions(asker, base.name, prompts, inside, job.candidates, writing)
        candidates.append(tuple(dict.fromkeys((*given, *written))))
    served = PromptsSpec(
        name=base.name, backend="prompts", base=base.name, artifact=job.out, demonstrations=job.demonstrations
    )
    trying = Trying(asker, served.over(base), base, grader, job.settings, watch)
    return await choose_instructions(trying, mixture, candidates, held_out, per_region)


def _per_region(job: Job, num_regions: int, num_given: int) -> int:
    """On how many queries each candidate may be tried. Raises `LabelError` when that is none."""
    written = num_regions * job.candidates
    tried = num_regions * (job.candidates + num_given)
    if job.max_calls < written + tried:
        raise LabelError(f"--max-calls {job.max_calls}: {num_regions} regions take at least {written + tried}")
    return min(MOST_TRIED, (job.max_calls - written) // tried)


def _write(
    job: Job, mixture: Mixture, encoder: Encoder, chosen: Sequence[Chosen | None]
) -> tuple[str, tuple[Region, ...]]:
    regions = tuple(
        Region(
            instruction,
            int((mixture.regions == i).sum()),
            None if each is None else each.reward,
            0 if each is None else each.validated,
        )
        for i, (instruction, each) in enumerate(zip(mixture.instructions, chosen, strict=True))
    )
    return save_mixture(job.out, mixture, encoder=encoder.fingerprint, regions=regions), regions
