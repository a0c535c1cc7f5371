"""Every format of others by name, and which one a file has.

    imported = import_outcomes("auto", [Path("a/samples_gsm8k.jsonl"), Path("b/samples_gsm8k.jsonl")])
    write_outcomes("gsm8k.jsonl.gz", imported.outcomes)

Only shapes that no two formats share are told apart; the others have to be named.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from routers.data.importers.base import Imported, Importer, LeftOut, Trial, merge
from routers.data.importers.records import read_json, records
from routers.data.outcomes import OutcomeError

IMPORTERS: dict[str, str] = {
    "llmrouter": "routers.data.importers.llmrouter:trials",
    "routerdc": "routers.data.importers.routerdc:trials",
    "routerdc-correct": "routers.data.importers.routerdc:correctness_trials",
    "routerdc-confidence": "routers.data.importers.routerdc:confidence_trials",
    "routerbench": "routers.data.importers.routerbench:trials",
    "routellm": "routers.data.importers.routellm:trials",
    "llmrouterbench": "routers.data.importers.llmrouterbench:trials",
    "lm_eval": "routers.data.importers.lm_eval:trials",
    "inspect": "routers.data.importers.inspect_log:trials",
    "promptfoo": "routers.data.importers.promptfoo:trials",
}
"""Where each format's importer is."""

_SHAPES: tuple[tuple[str, frozenset[str]], ...] = (
    ("llmrouter", frozenset({"query", "model_name", "performance"})),
    ("routerdc", frozenset({"question", "scores"})),
    ("routerbench", frozenset({"sample_id", "prompt", "eval_name"})),
    ("routellm", frozenset({"prompt", "mixtral_score"})),
    ("routellm", frozenset({"prompt", "gpt-4-1106-preview"})),
    ("llmrouterbench", frozenset({"performance", "records"})),
    ("lm_eval", frozenset({"doc_id", "filtered_resps"})),
    ("inspect", frozenset({"eval", "samples"})),
    ("promptfoo", frozenset({"results", "config"})),
)
"""The fields that tell a format, of a whole JSON file or of its first row."""


def import_outcomes(format: str, paths: Sequence[Path]) -> Imported:
    """The outcomes of all files, merged. format: a name of `IMPORTERS`, or `auto`.

    Raises ValueError for an unknown format, `OutcomeError` for a file that is wrong.
    """
    if format != "auto" and format not in IMPORTERS:
        raise ValueError(f"unknown format '{format}', expected one of auto, {', '.join(IMPORTERS)}")
    imported = merge(_chained(format, paths))
    if not imported.outcomes:
        reasons = ", ".join(f"{count} {reason}" for reason, count in imported.left_out.items()) or "they are empty"
        raise OutcomeError(f"{', '.join(map(str, paths))}: expected rows with a reward, got none ({reasons})")
    return imported


def detect(path: Path) -> str:
    """The format of a file. Raises `OutcomeError` when its shape doesn't tell."""
    if path.suffix == ".eval":
        return "inspect"
    fields = _fields(path)
    for name, wanted in _SHAPES:
        if wanted <= fields:
            return name
    raise OutcomeError(f"{path}: its format can't be told from its shape, say which it is: {', '.join(IMPORTERS)}")


def _chained(format: str, paths: Sequence[Path]) -> Iterator[Trial | LeftOut]:
    for path in paths:
        module, _, function = IMPORTERS[detect(path) if format == "auto" else format].partition(":")
        trials: Importer = getattr(importlib.import_module(module), function)
        yield from trials(path)


def _fields(path: Path) -> frozenset[str]:
    """The names in a JSON file's object, or in the first row of any other."""
    if ".json" in path.suffixes and isinstance(whole := read_json(path), dict):
        return frozenset(whole)
    return frozenset(next((record.values for record in records(path)), {}))
