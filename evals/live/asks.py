"""What judges are asked by: experts of the running gateway, as `switchyard label` asks those of its own process.

    grade = await task.grader(GatewayAsks(gateway))

Satisfies `orchestrator.labelling.base.Asks`. What judging costs is in the journal, and in no model's row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evals.live.gateway import Gateway
from orchestrator.errors import LabelError
from orchestrator.types import Kind

_PURPOSE = "judge"


class GatewayAsks:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def require(self, expert: str, kind: Kind) -> None:
        able = [model.id for model in self._gateway.models.values() if model.kind == kind]
        if expert not in able:
            raise LabelError(
                f"'{expert}' is no {kind} expert; expected one of {', '.join(able) or 'none that are there'}"
            )

    async def say(self, expert: str, messages: Sequence[Mapping[str, Any]], *, max_tokens: int) -> str | None:
        return (await self._gateway.chat(expert, _PURPOSE, messages, max_tokens=max_tokens)).text

    async def cosine(self, expert: str, first: str, second: str) -> float:
        (one, other), _ = await self._gateway.embed(expert, _PURPOSE, [first, second])
        lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
        return float(one @ other) / lengths if lengths else 0.0
