"""What is measured of a setting, as rows: every router, and every baseline beside it, at every lambda.

    rows = setting_rows(tested, [run], lambdas=(0.0, 1.0))
    rows[0].router, rows[0].gain, rows[0].gain_ci95

An expert that was not tried on a query has no reward there: then all choices are judged by the same completed table (doubly robust,
`routers.training.evaluation.completed`), filled with what the experts earned in training. A choice that looks at rewards, as the
oracle's, is judged by those that are known. Where nobody said what costs are worth, there is one lambda, 0. Not here: formulas
(`evals/metrics/`), means over seeds (`summary.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from evals.metrics.arena import arena_score, optimal_accuracy, optimal_cost, optimal_selection
from evals.metrics.controls import shuffled
from evals.metrics.gains import gain_at_best, gain_at_random, gap_at_oracle, largest_share
from evals.metrics.significance import holm, p_value
from evals.sweeps.baselines import ORACLE, baselines
from evals.sweeps.curves import CallCurve, CostCurve, call_curve, cost_curve, known_costs, mean_of
from evals.sweeps.nouns import PARAPHRASE, Row, Run, Tested
from evals.sweeps.storing import Store
from routers.base import FloatArray
from routers.data.splits import query_hash
from routers.training.evaluation import Choice, bootstrap, calibration, choose, completed, entropy_bits

CENTS_PER_USD = 100.0


def rows_of_setting(folder: Path, key: str, routers: Sequence[str], lambdas: Sequence[float]) -> list[Row]:
    """Of what a sweep has stored; nothing for a setting that no router could be measured in."""
    store = Store(folder)
    runs = [store.run(key, router) for router in routers if store.has_run(key, router)]
    return setting_rows(store.tested(key), runs, lambdas) if runs else []


def setting_rows(tested: Tested, runs: Sequence[Run], lambdas: Sequence[float]) -> list[Row]:
    """lambdas: reward given up per US cent, the first of them 0. Raises ValueError where queries have no reward at all."""
    measured = _Measured.of(tested)
    applying = lambdas if tested.has_costs and tested.cents_per_unit is not None else lambdas[:1]
    curves = {
        run.router: _Curves(cost_curve(tested, run.predicted, measured.rewards), call_curve(tested, run.predicted))
        for run in runs
    }
    rows = []
    for lambda_ in applying:
        marks = baselines(tested, measured.worth(lambda_), lambda_)
        found = [measured.row(name, choice, lambda_) for name, choice in marks.items()]
        routed = [_routed(measured, run, lambda_, curves[run.router]) for run in runs]
        rows += [*found, *_adjusted(routed)]
    return rows


@dataclass(frozen=True)
class _Measured:
    """rewards, costs: complete, `(n_queries, n_experts)`; costs in the table's unit.

    names: of the queries, their ids, or their texts where some have none of their own. order: the same under every seed.
    """

    tested: Tested
    rewards: FloatArray
    costs: FloatArray
    names: tuple[str, ...]
    order: NDArray[np.intp]

    @classmethod
    def of(cls, tested: Tested) -> _Measured:
        table = tested.table
        full = completed(table, tested.trained_rewards[tested.fold])
        ids = tuple(id for id in table.ids if id is not None)
        names = ids if len(set(ids)) == len(table) else table.queries
        hashes = np.array([query_hash(name) for name in names], dtype=np.uint64)
        # Those that are the same text are told apart by what was earned, so that seeds, which shuffle, agree on their order.
        ties = np.array([crc32(row.tobytes()) for row in np.nan_to_num(table.rewards, nan=-1.0)])
        return cls(tested, full.rewards, known_costs(tested), names, np.lexsort((ties, hashes)))

    @cached_property
    def fingerprint(self) -> str:
        """The same for the same queries, whatever the folds."""
        text = "\0".join(self.names[i] for i in self.order)
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()

    @cached_property
    def known_best(self) -> FloatArray:
        """What the best of the experts that were tried on each query earned there, weighted; `(n_queries,)`."""
        best: FloatArray = self.tested.weights * np.nanmax(self.tested.table.rewards, axis=1)
        return best

    def worth(self, lambda_: float) -> FloatArray:
        """`reward - lambda * cents` of every answer."""
        if not lambda_:
            return self.rewards
        worth: FloatArray = self.rewards - np.float32(lambda_ * (self.tested.cents_per_unit or 0.0)) * self.costs
        return worth

    def values(self, cells: FloatArray, choice: Choice) -> FloatArray:
        """Weighted, one per query, so that their plain mean is the mean of the protocol."""
        found: FloatArray = self.tested.weights * cells[np.arange(len(choice)), choice]
        return found

    def row(self, router: str, choice: Choice, lambda_: float) -> Row:
        """What any choice has; what only predictions have is left empty."""
        tested, table = self.tested, self.tested.table
        earned = self.values(self.rewards, choice)
        if router == ORACLE:
            earned = self.known_best
        reward = bootstrap(earned)
        worth = self.worth(lambda_)
        gain = self.values(worth, choice) - self.values(worth, tested.best_single(lambda_))
        gained = bootstrap(gain)
        shares = (np.bincount(choice, minlength=len(table.experts)) / len(choice)).astype(np.float32)
        means = (tested.weights[:, None] * self.rewards).mean(axis=0, dtype=np.float64)
        single = mean_of(tested, self.rewards, tested.best_single())
        cost = mean_of(tested, self.costs, choice) if tested.has_costs else None
        return Row(
            data=tested.setting.data,
            fleet=tested.setting.fleet,
            router=router,
            lambda_=lambda_,
            seed=tested.setting.seed,
            scenario=tested.setting.scenario,
            n=len(choice),
            reward=reward.mean,
            ci95=(reward.low, reward.high),
            gain=gained.mean,
            gain_ci95=(gained.low, gained.high),
            gain_at_random=gain_at_random(reward.mean, float(means.mean())),
            gain_at_best=gain_at_best(reward.mean, single),
            gap_at_oracle=gap_at_oracle(reward.mean, float(self.known_best.mean())),
            shuffled=shuffled(choice, tested.weights[:, None] * self.rewards),
            cost=cost,
            cost_unit=table.cost_unit,
            entropy=entropy_bits(shares),
            largest_share=largest_share(choice),
            queries=self.fingerprint,
            share={name: float(share) for name, share in zip(table.experts, shares, strict=True) if share},
            earned=tuple(earned[self.order].tolist()) if not lambda_ else (),
        )


@dataclass(frozen=True, slots=True)
class _Curves:
    cost: CostCurve | None
    calls: CallCurve | None


def _routed(measured: _Measured, run: Run, lambda_: float, curves: _Curves) -> Row:
    """A router's row, but for what depends on the other routers."""
    tested = measured.tested
    choice = choose(run.predicted, tested.cents, lambda_)
    worth = measured.worth(lambda_)
    differences = measured.values(worth, choice) - measured.values(worth, tested.best_single(lambda_))
    calibrated = calibration(run.predicted, tested.table).values()
    row = measured.row(run.router, choice, lambda_)
    return replace(
        row,
        p_value=p_value(differences),
        ece=float(np.mean([found.ece for found in calibrated])),
        brier=float(np.mean([found.brier for found in calibrated])),
        flip_rate=float(np.mean([rate for kind, rate in run.flips.items() if kind != PARAPHRASE])),
        paraphrase_flip_rate=run.flips.get(PARAPHRASE),
        decision_ms=run.decision_ms,
        fit_s=run.fit_s,
        **_costly(measured, row, choice, curves.cost),
        **({} if curves.calls is None else asdict(curves.calls)),
    )


def _costly(measured: _Measured, row: Row, choice: Choice, curve: CostCurve | None) -> dict[str, Any]:
    """The metrics that are about costs; those of RouterArena are about US dollars."""
    if curve is None or row.cost is None:
        return {}
    tested = measured.tested
    found: dict[str, Any] = {
        **{name: value for name, value in asdict(curve).items() if value is not None and not np.isnan(value)},
        "optimal_selection": optimal_selection(tested.table.rewards, measured.costs, choice),
        "optimal_cost": optimal_cost(tested.table.rewards, measured.costs, choice),
        "optimal_accuracy": optimal_accuracy(tested.table.rewards, measured.costs, choice),
    }
    if tested.cents_per_unit is not None:
        found["arena"] = arena_score(row.reward, 1_000 * row.cost * tested.cents_per_unit / CENTS_PER_USD)
    return found


def _adjusted(rows: Sequence[Row]) -> list[Row]:
    adjusted = holm([row.p_value for row in rows if row.p_value is not None])
    return [replace(row, p_adjusted=float(p)) for row, p in zip(rows, adjusted, strict=True)]
