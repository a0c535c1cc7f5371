"""What a trained router would have earned on the decisions in the ledger: for `switchyard evaluate` and `switchyard promote`.

    against = compare_with_live(Path("artifacts/support"), None, policy="auto")
    against.comparison.verdict                     # "promote", "do not promote" or "not enough data"
    against_json(against)                          # what `--json` prints

Not here: the statistics and what they assume (`evals/offpolicy/comparing.py`), tables (`reports.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.commands.failing import told
from orchestrator.commands.progress import progress_bar
from orchestrator.errors import ConfigError, DataError

if TYPE_CHECKING:
    from evals.offpolicy.comparing import Comparison
    from evals.offpolicy.logs import Log
    from orchestrator.config import Config
    from orchestrator.ledger.base import Routed
    from routers.artifact import Artifact
    from routers.base import Encoder
    from routers.training.evaluation import Interval
    from routers.training.judging import Progress

SinceOption = Annotated[
    datetime | None,
    typer.Option(
        "--since", help="Count decisions from then on. Default: when DIR was written, as it may know earlier ones."
    ),
]


@dataclass(frozen=True)
class Against:
    """A candidate beside what was live for `policy`, on its decisions since `since`. artifact: the candidate's fingerprint."""

    artifact: str
    policy: str
    since: datetime
    comparison: Comparison
    notes: tuple[str, ...]


def compare_with_live(
    folder: Path,
    config_path: Path | None,
    *,
    policy: str,
    since: datetime | None = None,
    lambda_: float | None = None,
    quiet: bool = False,
) -> Against:
    """lambda_: reward given up per US cent, by default the policy's.

    Raises `ConfigError` for an unknown policy, `DataError` for an artifact that can't be used and for nothing to compare on.
    """
    from evals.offpolicy.comparing import compare
    from evals.offpolicy.logs import Log
    from orchestrator.commands.training import load_router
    from orchestrator.fleet.configfile import find_config, read_config
    from routers.artifact import CONFIG

    path = find_config(config_path)
    config = read_config(path)
    if policy not in config.offered_policies:
        raise ConfigError(f"'{policy}' is no policy; expected one of {', '.join(config.offered_policies)}")
    loaded, reader = load_router(folder, path)
    begin = since or datetime.fromtimestamp((folder / CONFIG).stat().st_mtime)
    decisions = asyncio.run(_read_routed(config, path.parent, policy, begin.timestamp()))
    if not any(routed.reward is not None for routed in decisions):
        raise DataError(
            f"{policy} has no decision with feedback since {begin:%Y-%m-%d %H:%M} to compare on "
            "(--since counts earlier ones: give a time from which the router has not learned)"
        )
    with told(), progress_bar(quiet=quiet) as progress:
        log = Log.of(decisions)
        weight = config.offered_policies[policy].lambda_ if lambda_ is None else lambda_
        scores, unknown = _scores(loaded, log, reader, progress)
        comparison = compare(log, scores, lambda_=weight, cents=_expected_cents(loaded, log, config))
    notes = [f"unknown to the router, so it scores 0: {', '.join(unknown)}"] if unknown else []
    return Against(loaded.fingerprint, policy, begin, comparison, (*notes, *comparison.notes))


def against_json(against: Against) -> dict[str, Any]:
    """`artifact`, `policy`, `since` (ISO 8601), `decisions`, `with_feedback`, `lambda`, `live`, `candidate` and `difference`
    (`mean`, `ci95`; reward, or utility where lambda is not 0), `effective_sample_size`, `max_weight`, `chosen` and `unsupported`
    (decisions by expert), `share_unsupported` (0..1), `smallest_difference`, `decisions_needed`, `power` (0..1), `verdict`,
    `reason`, `notes`."""
    compared = against.comparison
    return {
        "artifact": against.artifact,
        "policy": against.policy,
        "since": against.since.astimezone().isoformat(),
        "decisions": compared.n,
        "with_feedback": compared.num_scored,
        "lambda": compared.lambda_,
        "live": _interval_json(compared.live),
        "candidate": _interval_json(compared.candidate),
        "difference": _interval_json(compared.difference),
        "effective_sample_size": compared.overlap.effective_sample_size,
        "max_weight": compared.overlap.max_weight,
        "chosen": compared.overlap.chosen,
        "unsupported": compared.overlap.unsupported,
        "share_unsupported": compared.overlap.share_unsupported,
        "smallest_difference": compared.smallest,
        "decisions_needed": compared.num_needed,
        "power": compared.power,
        "verdict": compared.verdict,
        "reason": compared.reason,
        "notes": against.notes,
    }


async def _read_routed(config: Config, base_dir: Path, policy: str, since: float) -> Sequence[Routed]:
    from orchestrator.service import make_ledger

    ledger = make_ledger(config, base_dir)
    await ledger.open()
    try:
        return [routed async for routed in ledger.routed(policy, since=since)]
    finally:
        await ledger.close()


def _scores(loaded: Artifact, log: Log, reader: Encoder | None, progress: Progress) -> tuple[Any, list[str]]:
    """Expected rewards `(n, n_experts)`, 0 for experts that the router doesn't know, as in serving; and who these are."""
    import numpy as np

    from routers.families.learned import EncodedRouter
    from routers.training.judging import encode, expected_rewards

    router = loaded.router
    known = [i for i, name in enumerate(log.experts) if name in router.experts_]
    scores = np.zeros(log.propensities.shape)
    if known:
        vectors = (
            encode(router, log.queries, reader, progress) if isinstance(router, EncodedRouter) and reader else None
        )
        names = [log.experts[i] for i in known]
        scores[:, known] = expected_rewards(router, log.queries, names, vectors=vectors, progress=progress)
    return scores, [name for name in log.experts if name not in router.experts_]


def _expected_cents(loaded: Artifact, log: Log, config: Config) -> Any:
    """US cents `(n, n_experts)`: as the artifact has learned them, else by declared prices, as in serving; NaN without either."""
    import numpy as np

    from orchestrator.routing.pricing import EXPECTED_COMPLETION_TOKENS, cost_usd
    from routers.data.costs import CHARACTERS_PER_TOKEN

    tokens = np.array([len(query) / CHARACTERS_PER_TOKEN for query in log.queries])
    declared = np.full(log.propensities.shape, np.nan)
    for i, name in enumerate(log.experts):
        if (spec := config.by_name.get(name)) is not None:
            answer, rate = cost_usd(spec.price, 0, EXPECTED_COMPLETION_TOKENS), cost_usd(spec.price, 1, 0)
            declared[:, i] = 100 * (answer + rate * tokens)
    if loaded.costs is None:
        return declared
    learned = loaded.costs.predict(log.queries, log.experts)
    return np.where(np.isnan(learned), declared, learned)


def _interval_json(interval: Interval) -> dict[str, Any]:
    return {"mean": interval.mean, "ci95": [interval.low, interval.high]}
