"""RouterBench's wide frames, as CSV or Parquet: a row per sample, and per model a score, a response and a cost.

    sample_id,prompt,eval_name,gpt-4,gpt-4|model_response,gpt-4|total_cost,oracle_model_to_route_to
    arc.1,"['Which ...?']",arc-challenge,1.0,['A'],0.00519,gpt-4

Format: convertors/common.py of github.com/withmartian/routerbench (arXiv 2403.12031). A column is a model when another has its name
with `|total_cost` or `|model_response`; prompts and responses are written as Python lists. RouterBench is published as pickles,
which are never opened here. Costs are USD per call.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from routers.data.importers.base import LeftOut, Trial
from routers.data.importers.records import Record, as_number, records

_RESPONSE, _COST = "|model_response", "|total_cost"


def trials(path: Path) -> Iterator[Trial | LeftOut]:
    """The trials in one file. Cells without a score are left out."""
    for record in records(path):
        experts = _experts(record)
        if not experts:
            raise record.wrong("prompt", f"columns of models beside it, such as 'gpt-4' and 'gpt-4{_COST}'")
        query = _unlisted(record.text("prompt"))
        for expert in experts:
            if as_number(record.values[expert]) is None:
                yield LeftOut("cells without a score")
                continue
            yield Trial(
                query=query,
                expert=expert,
                reward=record.reward(expert),
                id=record.optional_text("sample_id"),
                group=record.optional_text("eval_name"),
                cost=record.cost(expert + _COST),
                answer=_unlisted(record.optional_text(expert + _RESPONSE)),
            )


def _experts(record: Record) -> list[str]:
    columns = record.values
    return [name for name in columns if "|" not in name and (name + _COST in columns or name + _RESPONSE in columns)]


def _unlisted(text: Any) -> Any:
    """What a list of turns written as Python says, joined; any other value as it is."""
    if not isinstance(text, str) or not text.startswith("["):
        return text
    try:
        turns = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text
    return "\n\n".join(turns) if isinstance(turns, list) and all(isinstance(turn, str) for turn in turns) else text
