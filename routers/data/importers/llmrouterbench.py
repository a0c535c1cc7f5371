"""LLMRouterBench's results: a JSON file per data set, split and model, with a record per query.

    {"model_name": "gpt-5", "dataset_name": "aime", "split": "test", "records": [{"index": 1, "origin_query": "What is 2+2?",
     "prediction": "4", "ground_truth": "4", "score": 1.0, "cost": 0.0001}]}

Format: data_collector/storage.py and README.md of github.com/ynulihao/LLMRouterBench (arXiv 2601.07206). Where the file doesn't
name them, model, split and data set are the folders it lies in: `results/bench/<dataset>/<split>/<model>/<timestamp>.json`.
Costs are USD.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from routers.data.importers.base import LeftOut, Trial
from routers.data.importers.records import Record, as_number, read_json, records_of
from routers.data.outcomes import OutcomeError


def trials(path: Path) -> Iterator[Trial | LeftOut]:
    """The trials in one file. Records that were not scored are left out."""
    result = read_json(path)
    if not isinstance(result, dict) or "records" not in result:
        raise OutcomeError(f"{path}: expected an object with 'records'")
    whole, folders = Record(path, 1, result), path.resolve().parents
    expert = whole.optional_text("model_name") or folders[0].name
    group = whole.optional_text("dataset_name") or folders[2].name
    split = whole.optional_text("split") or folders[1].name
    for record in records_of(path, result["records"], "'records' as a list"):
        if as_number(record.values.get("score")) is None:
            yield LeftOut("records without a score")
            continue
        yield Trial(
            query=record.text("origin_query") or record.text("prompt"),
            expert=expert,
            reward=record.reward("score"),
            id=record.optional_text("index"),
            group=group,
            split=split,
            cost=record.cost("cost"),
            answer=record.optional_text("prediction"),
            target=record.optional_text("ground_truth"),
        )
