"""promptfoo's results: the JSON file that `promptfoo eval --output results.json` writes.

    {"evalId": "...", "config": {}, "results": {"version": 3, "results": [
      {"provider": {"id": "openai:gpt-4o"}, "prompt": {"raw": "Translate: cat"}, "vars": {"word": "cat"},
       "response": {"output": "chat"}, "success": true, "score": 1, "cost": 0.0001, "failureReason": 0}]}}

Format: `EvaluateResult` in src/types/index.ts of github.com/promptfoo/promptfoo. A provider is an expert, by its label where it has
one; the prompt as it was sent is the query. Calls that failed, which say nothing of an answer, are left out. Costs are USD.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from routers.data.importers.base import LeftOut, Trial
from routers.data.importers.records import Record, read_json, records_of
from routers.data.outcomes import OutcomeError

_CALL_FAILED = 2
"""`ResultFailureReason.ERROR`."""


def trials(path: Path) -> Iterator[Trial | LeftOut]:
    """The trials in one file."""
    data = read_json(path)
    summary = data.get("results") if isinstance(data, dict) else None
    if not isinstance(summary, dict):
        raise OutcomeError(f"{path}: expected an object with 'results' and 'results' in it")
    for record in records_of(path, summary.get("results"), "'results.results' as a list"):
        if record.values.get("failureReason") == _CALL_FAILED:
            yield LeftOut("calls that failed")
            continue
        response = record.values.get("response")
        output = response.get("output") if isinstance(response, dict) else None
        yield Trial(
            query=_prompt(record),
            expert=_provider(record),
            reward=record.reward("score"),
            cost=record.cost("cost"),
            answer=output if output is None or isinstance(output, str) else json.dumps(output, ensure_ascii=False),
        )


def _provider(record: Record) -> str:
    provider = record.values.get("provider")
    if isinstance(provider, dict):
        provider = provider.get("label") or provider.get("id")
    if not isinstance(provider, str) or not provider:
        raise record.wrong("provider", "an object with 'id'")
    return provider


def _prompt(record: Record) -> str:
    """What was sent: text, or chat messages written as JSON."""
    prompt = record.values.get("prompt")
    raw: Any = prompt.get("raw") if isinstance(prompt, dict) else prompt
    if not isinstance(raw, str):
        raise record.wrong("prompt", "an object with 'raw'")
    if not raw.lstrip().startswith("["):
        return raw
    try:
        messages = json.loads(raw)
    except (ValueError, RecursionError):
        return raw
    is_chat = isinstance(messages, list) and all(isinstance(m, dict) and "role" in m for m in messages)
    return Record(record.path, record.number, {"prompt": messages}).text("prompt") if is_chat else raw
