"""LLMRouter's routing data: JSON lines with one model's answer to one query each.

    {"task_name": "gsm8k", "query": "Janet has ...", "ground_truth": "2", "metric": "GSM8K", "model_name": "llama3-8b",
     "response": "2 apples.", "performance": 1.0, "token_num": 453, "embedding_id": 42}

Format: "Routing Data JSONL" in llmrouter/data/README.md of github.com/ulab-uiuc/LLMRouter. A query is the same when its text and
its task are. Token counts are left behind: they are no costs in USD.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from routers.data.importers.base import LeftOut, Trial
from routers.data.importers.records import as_number, records


def trials(path: Path) -> Iterator[Trial | LeftOut]:
    """The trials in one file. Rows whose performance is null are left out."""
    for record in records(path):
        if as_number(record.values.get("performance", 0.0)) is None:
            yield LeftOut("rows without a performance")
            continue
        yield Trial(
            query=record.text("query"),
            expert=record.text("model_name"),
            reward=record.reward("performance"),
            group=record.optional_text("task_name"),
            answer=record.optional_text("response"),
            target=record.optional_text("ground_truth"),
        )
