"""The settings that routers are compared in: which outcomes, which experts, what is trained on and what is measured.

    for protocol in protocols(Path("data/outcomes")):
        for train, test in protocol.splits: ...          # RewardTables of the same experts

Queries of a test set that stand in its training set, as they are or nearly so, are dropped. Cross-validation is over folds by query
hash, which keep equal queries together. The data of the named protocols are not part of the project (`$SWITCHYARD_DATA`); one
whose files are missing is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from routers.data.outcomes import read_outcomes
from routers.data.splits import find_duplicates
from routers.data.table import RewardTable
from routers.training.holding_out import hold_out

FOLDS = 5

MID_POOL = (
    "mathstral-7B",
    "Meta-Llama-3_1-8B-Instruct",
    "Phi-3-mini-4k-instruct",
    "Mixtral-8x7B-Instruct-v0.1",
    "Yi-34B",
    "c4ai-command-r-v01",
    "Qwen1.5-72B-Chat",
    "Qwen1.5-110B",
    "jamba-1.5-large",
    "Meta-Llama-3-70B",
)
TWELVE = (
    "Llama-3.1-405B-Inst@sambanova",
    "Meta-Llama-3-70B-Instruct",
    "Meta-Llama-3.1-70B-Instruct",
    "Mistral-Large-2",
    "Qwen2-72B-Instruct",
    "claude-3-5-haiku-20241022",
    "claude-3-opus-20240229",
    "deepseek-v2.5-0908",
    "gemini-1.5-flash",
    "gemini-1.5-pro",
    "gemma-2-27b-it",
    "gpt-4o-mini-2024-07-18",
)

Metric = Literal["reward", "reward by group", "cost", "weak and strong"]


@dataclass(frozen=True, slots=True)
class Protocol:
    """splits: `(train, test)` tables; with several, each query is tested once. num_leaked: test queries that were dropped.

    metric: the mean reward over queries, or over groups; or that and more where costs, or a weak and a strong expert, are what it
    is about. notes: what else was left out.
    """

    name: str
    splits: tuple[tuple[RewardTable, RewardTable], ...]
    metric: Metric = "reward"
    num_leaked: int = 0
    notes: tuple[str, ...] = ()


Tables = Sequence[RewardTable]


def protocols(data: Path, seed: int = 0) -> Iterator[Protocol]:
    """Every protocol whose files are in the folder `data`."""
    for name in known_protocols(data):
        tables = [RewardTable.of(read_outcomes(path)) for path in protocol_files(name, data)]
        yield make_protocol(name, tables, seed)


def protocol_metric(name: str) -> Metric:
    """What a protocol is about; of a data set that is no protocol, the reward."""
    return _METRICS.get(name, "reward")


def known_protocols(data: Path) -> tuple[str, ...]:
    """Names of the protocols whose files are in the folder `data`."""
    return tuple(name for name in _PROTOCOLS if all(path.exists() for path in protocol_files(name, data)))


def protocol_files(name: str, data: Path) -> tuple[Path, ...]:
    """The outcome files that a protocol is about."""
    return tuple(data / f"{file}.jsonl.gz" for file in _PROTOCOLS[name][0])


def make_protocol(name: str, tables: Tables, seed: int = 0, experts: Sequence[str] = ()) -> Protocol:
    """tables: of its files, in their order. experts: a fleet, by default the protocol's own, of those that there are."""
    _, make = _PROTOCOLS[name]
    known = [expert for expert in _POOLS.get(name, ()) if expert in tables[0].experts]
    if chosen := experts or known:
        tables = [table.only([expert for expert in chosen if expert in table.experts]) for table in tables]
    if unit := _UNITS.get(name):
        tables = [replace(table, cost_unit=unit) for table in tables]
    return replace(make(seed, tables), name=name, metric=protocol_metric(name))


def held_out_protocol(name: str, table: RewardTable, seed: int = 0, folds: int = FOLDS) -> Protocol:
    """By the table's own split where it has one, else by cross-validation."""
    is_test = {split == "test" for split in table.splits}
    held = hold_out(table, folds=None if is_test == {True, False} else folds, seed=seed)
    splits = tuple((held.table.rows(train), held.table.rows(test)) for train, test in held.parts)
    return Protocol(name, splits, num_leaked=held.num_leaked, notes=held.notes)


def _folds(seed: int, tables: Tables) -> Protocol:
    (table,) = tables
    return held_out_protocol("", table, seed)


def _train_test(groups: tuple[str, ...] = ()) -> Callable[[int, Tables], Protocol]:
    def make(seed: int, tables: Tables) -> Protocol:
        train, test = tables
        test = test.only(train.experts)
        leaked = find_duplicates(train.queries, test.queries).any
        asked = np.array([not groups or group in groups for group in test.groups])
        return Protocol("", ((train, test.rows(asked & ~leaked)),), num_leaked=int((asked & leaked).sum()))

    return make


def _router_bench(seed: int, tables: Tables) -> Protocol:
    """Its own split. All prompts open with the same examples, so what is routed is the last question."""
    (table,) = tables
    table = replace(table, queries=tuple(query.rsplit("\n\n", 1)[-1] for query in table.queries))
    return held_out_protocol("", table, seed)


_PROTOCOLS: dict[str, tuple[tuple[str, ...], Callable[[int, Tables], Protocol]]] = {
    "llmrouter9": (("llmrouter9-train",), _folds),
    "llmrouter9 test": (("llmrouter9-train", "llmrouter9-test"), _train_test()),
    "routerdc7": (("routerdc7-train", "routerdc7-test-id"), _train_test()),
    "routerdc7 elsewhere": (
        ("routerdc7-train", "routerdc7-test-ood"),
        _train_test(("mbpp", "ceval", "math_prealgebra")),
    ),
    "mmlupro10": (("mmlupro28-dev",), _folds),
    "zeroeval12": (("zeroeval-dev",), _folds),
    "routerbench11": (("routerbench11-dev",), _router_bench),
    "routellm2": (("routellm2-dev",), _folds),
}
_POOLS: dict[str, tuple[str, ...]] = {"mmlupro10": MID_POOL, "zeroeval12": TWELVE}
_UNITS = {"mmlupro10": "characters", "zeroeval12": "characters"}
"""What costs are in, where the files don't say."""
_METRICS: dict[str, Metric] = {
    "routerdc7": "reward by group",
    "routerdc7 elsewhere": "reward by group",
    "routerbench11": "cost",
    "routellm2": "weak and strong",
}
