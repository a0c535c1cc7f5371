"""Labelling, from a file of queries to a file of outcomes: ask, grade, write, try to game the judge.

    async with running(config_path) as service:
        report = await label(service, Job(queries=Path("Q.jsonl"), reward="numeric", out=Path("O.jsonl")))

Interrupted in any way, it goes on where it was when it is run again, and asks nobody twice: everything that was paid for is in
`O.jsonl.journal`. The output appears whole. Queries, answers and rewards are held in memory. Not here: the terminal
(`orchestrator/commands/label.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import LabelError
from orchestrator.labelling.asking import Asker
from orchestrator.labelling.base import Grader, Tools
from orchestrator.labelling.collecting import Collected, Settings, collect
from orchestrator.labelling.gaming import Probes, probe
from orchestrator.labelling.grading import Graded, grade
from orchestrator.labelling.journal import Journal
from orchestrator.labelling.queries import Item, read_items
from orchestrator.labelling.registry import make_grader
from orchestrator.labelling.report import Report, make_report
from orchestrator.service import Service
from routers.base import Outcome
from routers.data.outcomes import write_outcomes

Watch = Callable[[str, int, int, float], None]
"""Told of the stage, how much of it is done, of how much, and what everything has cost so far in USD."""


@dataclass(frozen=True, slots=True)
class Job:
    """What `switchyard label` is told. experts: None means all that chat or complete text.

    max_cost_usd: of this output in all, over every run. weights and pairs are `dmoerm`'s.
    """

    queries: Path
    reward: str
    out: Path
    experts: tuple[str, ...] | None = None
    settings: Settings = field(default_factory=Settings)
    max_cost_usd: float | None = None
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    pairs: Path | None = None


def unwatched(stage: str, done: int, total: int, cost_usd: float) -> None:
    """A `Watch` that looks away."""


async def label(service: Service, job: Job, watch: Watch = unwatched) -> Report:
    """Do the job. Raises `LabelError`, before any expert is asked for answers where queries, reward or experts can't be used."""
    if job.out.is_dir() or not job.out.parent.is_dir():
        raise LabelError(f"{job.out}: expected a file to write, in a folder that is there")
    if job.out.resolve() == job.queries.resolve():
        raise LabelError(f"{job.out}: these are the queries; expected another file to write")
    kept = job.out.with_name(f"{job.out.name}.journal")
    if job.out.exists() and not kept.exists():
        raise LabelError(
            f"{job.out}: is there and has no {kept.name}; expected a new file, or one written by `switchyard label`"
        )
    items = list(read_items(job.queries))
    with Journal.open(kept) as journal:
        asker = Asker(service, journal, max_cost_usd=job.max_cost_usd)
        experts = text_experts(asker, service, job.experts)
        grader = await make_grader(job.reward, Tools(asker, job.weights, job.pairs))
        check_items(grader, items, job.queries)
        asking = steps("asking", len(items) * len(experts), asker, watch)
        collected = await collect(asker, service.fleet.specs, items, experts, job.settings, asking)
        graded = await grade(grader, items, collected, steps("grading", len(items), asker, watch))
        outcomes = list(_outcomes(items, collected, graded))
        if outcomes:
            _write(job.out, outcomes)
        probes = await probe(grader, items, collected) if grader.judged and graded.is_whole else Probes()
        return make_report(job.out, outcomes, collected, graded, probes, asker, num_queries=len(items))


def _write(path: Path, outcomes: Sequence[Outcome]) -> None:
    try:
        write_outcomes(path, outcomes)
    except OSError as exc:
        raise LabelError(f"{path}: can't be written: {exc.strerror}") from exc


def text_experts(asker: Asker, service: Service, named: Sequence[str] | None) -> tuple[str, ...]:
    """Those named, or all that answer in text. Raises `LabelError` for one that can't be asked for text."""
    if named is not None:
        return tuple(asker.spec(name).name for name in dict.fromkeys(named))
    able = tuple(name for name, spec in service.fleet.config.by_name.items() if spec.serves & {"chat", "completion"})
    if not able:
        raise LabelError("the fleet has no expert that answers in text")
    return able


def check_items(grader: Grader, items: Sequence[Item], path: Path) -> None:
    """Raises `LabelError`, with file and line, for a query that can't be graded so, and where there is none."""
    if not items:
        raise LabelError(f"{path}: there is no query in it")
    for item in items:
        try:
            grader.check(item)
        except ValueError as exc:
            raise LabelError(f"{path}:{item.line}: {exc}") from exc


def steps(stage: str, total: int, asker: Asker, watch: Watch) -> Callable[[], None]:
    """What tells `watch` of one more that is done."""
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        watch(stage, done, total, asker.cost_usd)

    watch(stage, 0, total, asker.cost_usd)
    return step


def _outcomes(items: Sequence[Item], collected: Collected, graded: Graded) -> Iterator[Outcome]:
    """Those queries that somebody has a reward for."""
    for index, (item, rewards) in enumerate(zip(items, graded.rewards, strict=True)):
        if rewards:
            said = collected.of(index)
            yield Outcome(
                query=item.query,
                rewards={expert: rewards[expert] for expert in said if expert in rewards},
                id=item.id,
                group=item.group,
                split=item.split,
                costs={expert: each.cost_usd for expert, each in said.items()},
                answers={expert: each.text for expert, each in said.items()},
                target=item.target,
            )
