"""`switchyard train` and `switchyard evaluate`: a router from outcomes, and a router on other outcomes.

    switchyard train linear --data train.jsonl.gz --set penalty=3 --out artifacts/support
    switchyard evaluate artifacts/support --data test.jsonl.gz --json
    switchyard evaluate artifacts/support --from-ledger          # beside what was live, on the gateway's own decisions

An experts.yaml is welcome and not needed: it says more of the experts, and which models texts can be read with. Not here: training
itself (`routers/training/fitting.py`), making a router live (`switchyard promote`).
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.failing import told
from orchestrator.commands.offpolicy import SinceOption, against_json, compare_with_live
from orchestrator.commands.options import ConfigOption, JsonOption
from orchestrator.commands.progress import progress_bar
from orchestrator.commands.reports import print_against, print_report
from orchestrator.errors import DataError

if TYPE_CHECKING:
    from routers.artifact import Artifact
    from routers.base import Encoder
    from routers.data.loading import Reading
    from routers.data.table import RewardTable
    from routers.training.fitting import Trained
    from routers.training.judging import Progress

MAX_QUERIES = 200_000
MAX_VECTOR_BYTES = 1_000_000_000
"""What the vectors of all queries may take; fitting needs a small multiple of it."""

DataOption = Annotated[
    list[Path] | None,
    typer.Option("--data", metavar="F...", help="Outcome files: .jsonl, .jsonl.gz or .parquet."),
]
MoreFiles = Annotated[list[Path] | None, typer.Argument(metavar="[F...]", help="More outcome files, after --data F.")]
ExpertsOption = Annotated[str | None, typer.Option("--experts", metavar="a,b", help="Only these experts.")]
LambdaOption = Annotated[float, typer.Option("--lambda", min=0.0, help="Reward given up per US cent.")]
WorthOption = Annotated[
    float | None, typer.Option("--usd-per-unit", min=0.0, help="What costs are worth that aren't in USD.")
]
SeedOption = Annotated[int, typer.Option(min=0, help="Of all that is drawn.")]


def train(
    router: Annotated[str, typer.Argument(metavar="ROUTER", help="A type of router: linear, knn, ...")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write.")],
    more: MoreFiles = None,
    data: DataOption = None,
    from_ledger: Annotated[
        bool, typer.Option("--from-ledger", help="Learn from the gateway's decisions and feedback.")
    ] = False,
    experts: ExpertsOption = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the router.")
    ] = None,
    features: Annotated[
        str | None, typer.Option(help="What texts are read with: hashed, text, an embedding expert, or a+b.")
    ] = None,
    folds: Annotated[int | None, typer.Option(min=2, help="Judge by cross-validation.")] = None,
    lambda_: LambdaOption = 0.0,
    usd_per_unit: WorthOption = None,
    seed: SeedOption = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Write it even if the best single expert does better.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a router from outcomes, judge it by some that were held out, and write it if it is worth it."""
    from orchestrator.fleet.configedit import parse_settings
    from orchestrator.fleet.configfile import config_if_any
    from orchestrator.fleet.encoding import training_encoder
    from orchestrator.fleet.routers import expert_card
    from routers.artifact import require_replaceable
    from routers.training.fitting import TrainingSettings, write_trained
    from routers.training.fitting import train as fit

    fleet, base_dir = config_if_any(config)
    files = _files(data, more, from_ledger)
    wanted = TrainingSettings(router, parse_settings(settings or ()), seed, folds, lambda_, usd_per_unit)
    with told(), progress_bar(quiet=as_json) as progress:
        require_replaceable(out)
        encoder = training_encoder(features, fleet, base_dir)
        wanted.make((), encoder)  # a typo is told before files are read
        read = partial(_read_ledger, config) if from_ledger else partial(_read, files)
        table, reading = read(experts, encoder, progress)
        cards = [expert_card(spec) for spec in fleet.experts]
        trained = fit(table, wanted, encoder=encoder, cards=cards, progress=progress)
        fingerprint = write_trained(trained, out, force=force) if force or trained.objection is None else None
    _print_trained(trained, reading, out, fingerprint, as_json=as_json)
    if fingerprint is None:
        raise DataError(f"{out}: is not written: {trained.objection}")


def evaluate(
    artifact: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a trained router.")],
    more: MoreFiles = None,
    data: DataOption = None,
    experts: ExpertsOption = None,
    groups: Annotated[str | None, typer.Option(metavar="g,h", help="Only queries of these groups.")] = None,
    split: Annotated[str | None, typer.Option(help="Only queries of this split.")] = None,
    from_ledger: Annotated[
        bool, typer.Option("--from-ledger", help="Beside what was live, on the gateway's decisions.")
    ] = False,
    policy: Annotated[str, typer.Option(help="Whose decisions, with --from-ledger.")] = "auto",
    since: SinceOption = None,
    lambda_: Annotated[
        float | None,
        typer.Option(
            "--lambda", min=0.0, help="Reward given up per US cent. Default: 0, or the policy's --from-ledger."
        ),
    ] = None,
    usd_per_unit: WorthOption = None,
    seed: SeedOption = 0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a trained router by outcomes (best single and group-best are those of its training data), or, --from-ledger, beside
    what was live: what it would have earned on the gateway's decisions, as far as these can tell."""
    from routers.training.judging import judge
    from routers.training.report import as_json as evaluation_json

    if from_ledger:
        if any(option is not None for option in (data, more, experts, groups, split, usd_per_unit)):
            raise DataError(
                "--from-ledger takes --policy, --since and --lambda alone: outcomes in files are judged by --data"
            )
        against = compare_with_live(artifact, config, policy=policy, since=since, lambda_=lambda_, quiet=as_json)
        typer.echo(json.dumps(against_json(against))) if as_json else print_against(against, str(artifact))
        return
    if since is not None:
        raise DataError("--since belongs to --from-ledger")
    loaded, reader = load_router(artifact, config)
    files = _files(data, more, False)
    with told(), progress_bar(quiet=as_json) as progress:
        table, reading = _read(files, experts, reader, progress)
        table = _chosen(table, groups, split)
        judged = judge(
            loaded,
            table,
            lambda_=lambda_ or 0.0,
            usd_per_unit=usd_per_unit,
            reader=reader,
            seed=seed,
            progress=progress,
        )
    notes = (*reading.notes, *judged.notes)
    if as_json:
        body = {**evaluation_json(judged.evaluation), "artifact": loaded.fingerprint, "notes": notes}
        typer.echo(json.dumps(body))
    else:
        print_report(judged.evaluation, f"{artifact} ({loaded.router.type}) on {len(table):,} queries", notes)


def _files(data: Sequence[Path] | None, more: Sequence[Path] | None, from_ledger: bool) -> list[Path]:
    """The outcome files, or none with `--from-ledger`. Raises `DataError` unless there is one source."""
    if from_ledger and (data or more):
        raise DataError(
            "--data and --from-ledger exclude each other: `switchyard export` writes the ledger as an outcome file"
        )
    if not from_ledger and not data:
        raise DataError("no outcomes: give --data FILE, or --from-ledger")
    return [*(data or ()), *(more or ())]


def _read(
    files: Sequence[Path], experts: str | None, encoder: Encoder | None, progress: Progress
) -> tuple[RewardTable, Reading]:
    """As many queries as their vectors fit into `MAX_VECTOR_BYTES`."""
    from routers.data.loading import read_table
    from routers.parts.spelling import SPELLING

    progress("reading outcomes", 0, 0)
    fitting = MAX_QUERIES if encoder is None else MAX_VECTOR_BYTES // (4 * (encoder.dimensions + SPELLING))
    if encoder is not None and not fitting:
        raise DataError(f"features of {encoder.dimensions:,} dimensions: not even one query's fit into a gigabyte")
    return read_table(files, experts=listed_names(experts), max_queries=min(MAX_QUERIES, fitting))


def _read_ledger(
    config: Path | None, experts: str | None, encoder: Encoder, progress: Progress
) -> tuple[RewardTable, Reading]:
    """By way of a file, as all training data goes."""
    from orchestrator.commands.outcomes import write_ledger
    from orchestrator.fleet.configfile import find_config

    with tempfile.TemporaryDirectory(prefix="switchyard-") as folder:
        file = Path(folder) / "ledger.jsonl"
        if not asyncio.run(write_ledger(find_config(config), file)):
            raise DataError("the ledger has no decision with feedback yet")
        return _read([file], experts, encoder, progress)


def load_router(folder: Path, config: Path | None) -> tuple[Artifact, Encoder | None]:
    """The artifact, and what to read many texts with."""
    from orchestrator.fleet.configfile import config_if_any
    from orchestrator.fleet.encoding import Encoders, cached
    from orchestrator.fleet.routers import expert_card
    from routers.artifact import load_artifact
    from routers.families.learned import LearnedRouter

    fleet, base_dir = config_if_any(config)
    with told():
        encoders = tuple(Encoders().of(fleet, base_dir).by_expert.values())
        loaded = load_artifact(folder, encoders=encoders, experts=[expert_card(spec) for spec in fleet.experts])
    router = loaded.router
    return loaded, cached(router.encoder) if isinstance(router, LearnedRouter) else None


def _chosen(table: RewardTable, groups: str | None, split: str | None) -> RewardTable:
    """The queries of these groups and this split. Raises ValueError, with those that there are, when there are none."""
    table = _where(table, table.groups, listed_names(groups), "group")
    return _where(table, table.splits, None if split is None else [split], "split")


def listed_names(listed: str | None) -> list[str] | None:
    return None if listed is None else [name.strip() for name in listed.split(",")]


def _where(table: RewardTable, labels: Sequence[str | None], wanted: Sequence[str] | None, name: str) -> RewardTable:
    """The queries whose label is wanted."""
    import numpy as np

    if wanted is None:
        return table
    known = sorted({label for label in labels if label is not None})
    if unknown := [label for label in wanted if label not in known]:
        raise ValueError(f"no query has the {name} '{unknown[0]}', expected one of {', '.join(known) or 'none'}")
    return table.rows(np.flatnonzero([label in wanted for label in labels]))


def _print_trained(trained: Trained, reading: Reading, out: Path, fingerprint: str | None, *, as_json: bool) -> None:
    """The report; in JSON, `artifact` is null when nothing was written."""
    from routers.training.report import as_json as evaluation_json

    notes = [*reading.notes, *trained.notes]
    if as_json:
        written = None if fingerprint is None else {"path": str(out), "fingerprint": fingerprint}
        body = {"artifact": written, "queries": reading.num_kept, "judged_by": trained.how, "notes": notes}
        typer.echo(json.dumps({**body, "held_out": evaluation_json(trained.evaluation)}))
        return
    n = trained.evaluation.n
    print_report(
        trained.evaluation, f"{trained.settings.type}, judged by {n:,} queries held out ({trained.how})", notes
    )
    if fingerprint is not None:
        typer.echo(f"wrote {out} ({fingerprint})")
