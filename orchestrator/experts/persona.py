"""A system prompt over another expert, which answers with its own weights.

    experts:
      - {name: pirate, backend: persona, base: smollm2, system: You are a pirate.}

The persona's prompt comes before the client's own system or developer message, and is joined to it: many chat templates take one
such message only. The base shares its place in memory with the persona (`spec.host`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from orchestrator.config import PersonaSpec
from orchestrator.errors import ExpertError
from orchestrator.experts.base import Expert, Services
from orchestrator.types import Answer, Call


def with_system(messages: Sequence[dict[str, Any]], system: str) -> list[dict[str, Any]]:
    """The messages with `system` before everything a first system or developer message says."""
    first = messages[0] if messages else {}
    if first.get("role") not in ("system", "developer"):
        return [{"role": "system", "content": system}, *messages]
    said = first["content"]
    joined = [{"type": "text", "text": system}, *said] if isinstance(said, list) else f"{system}\n\n{said}"
    return [{**first, "content": joined}, *messages[1:]]
