"""The process of one llama.cpp expert: xllamacpp's own HTTP server, set up from `Settings`.

    python -m orchestrator.experts.llamacpp_server      # launched by the engine; see orchestrator/experts/launched.py

It answers under the expert's name and with the bearer token only; no path of the model is in what it says to clients. It runs
until SIGTERM, which ends it at once, also while it generates. Not here: GPU placement, which is llama.cpp's default or `options`.
"""

from __future__ import annotations

import difflib
import enum
import signal
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from orchestrator.experts import launched

LOG_WARNINGS = 2
EMBEDDING_BATCH = 2048
SLOT_PROMPT_SIMILARITY = 0.5
"""The share of a prompt that a slot must have in its cache to be preferred to the one that was idle for longest."""
OWNED = {
    "model": "model",
    "model_alias": "name",
    "n_ctx": "context",
    "n_parallel": "limits.concurrency",
    "embedding": "kind",
    "hostnames": None,
    "port": None,
    "api_keys": None,
    "ui": None,
    "reuse_port": None,
}
"""Fields that follow from something else in the expert's entry, or are not to be set at all."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """context: tokens per request, None for the model's own. options: fields of xllamacpp's CommonParams."""

    name: str
    kind: str
    model: str
    context: int | None
    concurrency: int
    threads: int
    options: dict[str, Any]


def main() -> None:
    import xllamacpp

    given = launched.read(Settings)
    params = parameters(given)
    try:
        _server = xllamacpp.Server(params)
    except RuntimeError as exc:  # what was wrong it has printed
        raise SystemExit(f"llama.cpp can't serve {Path(given.settings.model).name}") from exc
    signal.pause()


def parameters(given: launched.Launched[Settings]) -> Any:
    """Everything llama.cpp is told, as its CommonParams."""
    import xllamacpp

    settings = given.settings
    params = xllamacpp.CommonParams()
    params.model.path = settings.model
    params.model_alias = {settings.name}
    params.hostnames, params.port, params.api_keys = [given.host], given.port, [given.token]
    params.ui = False
    params.verbosity = LOG_WARNINGS
    params.n_parallel = settings.concurrency
    # llama.cpp divides the context among the requests it serves at once.
    params.n_ctx = (settings.context or 0) * settings.concurrency
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
    # Its second cache of prompts may grow to 8 GB, which no memory budget would know of. Each slot keeps its last prompt anyway.
    params.cache_ram_mib = 0
    # Personas over one model share a template's first words. Taking each other's slot for that, they would lose their prompts.
    params.slot_prompt_similarity = SLOT_PROMPT_SIMILARITY
    if settings.kind in ("embedding", "rerank"):
        pooling = xllamacpp.llama_pooling_type
        params.embedding = True
        params.pooling_type = (
            pooling.LLAMA_POOLING_TYPE_RANK if settings.kind == "rerank" else pooling.LLAMA_POOLING_TYPE_MEAN
        )
        # A text must fit one physical batch; one that fits the batch but not the context is refused with a proper error.
        params.n_batch = params.n_ubatch = params.n_ctx or EMBEDDING_BATCH
    for name, value in settings.options.items():
        _set(params, name, value, f"options.{name}")
    return params


def _set(target: Any, name: str, value: Any, where: str) -> None:
    """One option; a mapping sets fields of the object there. Ends the process with a line that says what is wrong."""
    if where == f"options.{name}" and name in OWNED:
        instead = OWNED[name]
        _fail(where, f"follows from the expert's `{instead}`" if instead else "is not to be set")
    if name.startswith("_") or not hasattr(target, name):
        close = difflib.get_close_matches(name, dir(target), n=3)
        hint = f"; did you mean {close}?" if close else ""
        _fail(where, f"is no field of xllamacpp's {type(target).__name__}{hint}")
    current = getattr(target, name)
    if isinstance(value, dict) and not isinstance(current, dict):
        for key, inner in value.items():
            _set(current, key, inner, f"{where}.{key}")
        return
    try:
        setattr(target, name, type(current)[value] if isinstance(current, enum.Enum) else value)
    except (TypeError, ValueError, KeyError, OverflowError, AttributeError) as exc:
        expected = list(type(current).__members__) if isinstance(current, enum.Enum) else type(current).__name__
        _fail(where, f"can't be {value!r}; expected {expected}", exc)


def _fail(where: str, problem: str, cause: Exception | None = None) -> NoReturn:
    raise SystemExit(f"{where} {problem}") from cause


if __name__ == "__main__":
    main()
