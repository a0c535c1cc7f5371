"""GET /v1/models and /v1/models/{id}: what may stand in `model`, for the key that asks.

    curl http://127.0.0.1:8700/v1/models          # experts, then policies, then panels as panel/<name>

OpenAI's object with fields of our own: `kind`, `capabilities`, `context`, `description`. Whether an expert is in memory
now is told by /admin/experts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from orchestrator.config import Config
from orchestrator.errors import UnknownModel
from orchestrator.gateway.http import Request
from orchestrator.types import Caller

DEFAULT_POLICY = "auto"
_STARTED = int(time.time())


class Model(Struct):
    """created: when this gateway started, in Unix seconds; OpenAI's clients want the field."""

    id: str
    owned_by: str
    kind: str
    object: Literal["model"] = "model"
    created: int = 0
    description: str = ""
    capabilities: list[str] = []
    context: int | None = None
    experts: list[str] | None = None


class ModelList(Struct):
    data: list[Model]
    object: Literal["list"] = "list"


async def list_models(request: Request) -> None:
    await request.respond_json(ModelList(list(_visible(request.context.config(), request.caller))))


async def get_model(request: Request) -> None:
    name = request.path_params["model"]
    for model in _visible(request.context.config(), request.caller):
        if model.id == name:
            return await request.respond_json(model)
    raise UnknownModel(f"The model {name!r} does not exist.", param="model")


def _visible(config: Config, caller: Caller) -> Iterator[Model]:
    for model in _models(config):
        allowed = caller.policies if model.kind in ("policy", "panel") else caller.experts
        if allowed is None or model.id in allowed:
            yield model


def _models(config: Config) -> Iterator[Model]:
    for spec in config.experts:
        yield Model(
            id=spec.name,
            owned_by=spec.backend,
            kind=spec.kind,
            created=_STARTED,
            description=spec.description,
            capabilities=sorted(spec.capabilities),
            context=spec.context,
        )
    for name in dict.fromkeys([DEFAULT_POLICY, *config.policies]):
        policy = config.policies.get(name)
        experts = list(policy.experts) if policy is not None and policy.experts is not None else None
        yield Model(id=name, owned_by="switchyard", kind="policy", created=_STARTED, experts=experts)
    for name, panel in config.panels.items():
        yield Model(f"panel/{name}", "switchyard", "panel", created=_STARTED, experts=list(panel.experts))
