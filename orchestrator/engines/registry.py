"""Engines by name, imported when asked for.

    engine = make_engine(config.engine)           # an orchestrator.engines.base.Engine

A new engine is one module and one line here.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.engines.base import Engine
from orchestrator.errors import ConfigError


def _local() -> Engine:
    from orchestrator.engines.local import LocalEngine

    return LocalEngine()


ENGINES: dict[str, Callable[[], Engine]] = {"local": _local}


def make_engine(name: str) -> Engine:
    """The engine called `name`. Raises `ConfigError` that lists the known ones."""
    if name not in ENGINES:
        raise ConfigError(f"'{name}' is no engine; expected one of {', '.join(ENGINES)}")
    return ENGINES[name]()
