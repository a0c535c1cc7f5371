"""The settings that routers are compared in: which outcomes, which experts, what is trained on and what is measured.

    for protocol in protocols(Path("data/outcomes")):
        for train, test in protocol.splits: ...          # RewardTables of the same experts

Queries of a test set that stand in its training set, as they are or nearly so, are dropped. Cross-validation is over folds by query
hash, which keep equal queries together, in several rounds where queries are few. The data are not part of the project
(`$SWITCHYARD_DATA`); a protocol whose files are missing is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from routers.data.outcomes import read_outcomes
from routers.data.splits import find_duplicates, fold_numbers
from routers.data.table import RewardTable

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
    """splits: `(train, test)` tables; where cross-validation is repeated, a query is tested once in each round.

    metric: the mean reward over queries, or over groups; or that and more where costs, or a weak and a strong expert, are what it
    is about.
    """

    name: str
    splits: tuple[tuple[RewardTable, RewardTable], ...]
    metric: Metric = "reward"


def protocols(data: Path, seed: int = 0) -> Iterator[Protocol]:
    """Every protocol whose files are in the folder `data`."""
    for name, (files, make) in _PROTOCOLS.items():
        paths = [data / f"{file}.jsonl.gz" for file in files]
        if all(path.exists() for path in paths):
            tables = [RewardTable.of(read_outcomes(path)) for path in paths]
            yield replace(make(seed, *tables), name=name)


def _folds(
    experts: tuple[str, ...] = (), metric: Metric = "reward", rounds: int = 1
) -> Callable[[int, RewardTable], Protocol]:
    def make(seed: int, table: RewardTable) -> Protocol:
        table = table.only(experts) if experts else table
        numbers = [fold_numbers(table, FOLDS, seed + round_) for round_ in range(rounds)]
        splits = [(table.rows(fold != i), table.rows(fold == i)) for fold in numbers for i in range(FOLDS)]
        return Protocol("", tuple(splits), metric)

    return make


def _train_test(
    metric: Metric = "reward", groups: tuple[str, ...] = ()
) -> Callable[[int, RewardTable, RewardTable], Protocol]:
    def make(seed: int, train: RewardTable, test: RewardTable) -> Protocol:
        test = test.only(train.experts)
        leaked = find_duplicates(train.queries, test.queries).any
        asked = np.array([not groups or group in groups for group in test.groups])
        return Protocol("", ((train, test.rows(asked & ~leaked)),), metric)

    return make


def _router_bench(seed: int, table: RewardTable) -> Protocol:
    """Its own split. All prompts open with the same examples, so what is routed is the last question."""
    table = replace(table, queries=tuple(query.rsplit("\n\n", 1)[-1] for query in table.queries))
    is_test = np.array([split == "test" for split in table.splits])
    train, test = table.rows(~is_test), table.rows(is_test)
    return Protocol("", ((train, test.rows(~find_duplicates(train.queries, test.queries).any)),), "cost")


_PROTOCOLS: dict[str, tuple[tuple[str, ...], Callable[..., Protocol]]] = {
    "llmrouter9": (("llmrouter9-train",), _folds()),
    "llmrouter9 test": (("llmrouter9-train", "llmrouter9-test"), _train_test()),
    "routerdc7": (("routerdc7-train", "routerdc7-test-id"), _train_test("reward by group")),
    "routerdc7 elsewhere": (
        ("routerdc7-train", "routerdc7-test-ood"),
        _train_test("reward by group", ("mbpp", "ceval", "math_prealgebra")),
    ),
    "mmlupro10": (("mmlupro28-dev",), _folds(MID_POOL)),
    "zeroeval12": (("zeroeval-dev",), _folds(TWELVE, rounds=5)),
    "routerbench11": (("routerbench11-dev",), _router_bench),
    "routellm2": (("routellm2-dev",), _folds(metric="weak and strong")),
}
