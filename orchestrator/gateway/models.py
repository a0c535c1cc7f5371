"""GET /v1/models and /v1/models/{id}: what may stand in `model`, for the key that asks.

    curl http://127.0.0.1:8700/v1/models          # experts, then policies, then panels as panel/<name>

OpenAI's object with fields of our own: `kind`, `capabilities`, `context`, `description`. Whether an expert is in memory
now is told by /admin/experts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Set
from typing import Literal

from msgspec import Struct

from orchestrator.config import Config, ExpertBase, PanelExpert
from orchestrator.errors import UnknownModel
from orchestrator.gateway.http import Request
from orchestrator.types import Caller

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
    for model in _models(config, caller.experts):
        is_ours = model.kind in ("policy", "panel")
        if not is_ours or caller.policies is None or model.id in caller.policies:
            yield model


def _models(config: Config, allowed: Set[str] | None) -> Iterator[Model]:
    """Experts that are allowed, and what has enough of them left to answer."""
    allowed = config.by_name.keys() if allowed is None else allowed
    for spec in config.experts:
        if spec.name not in allowed:
            continue
        yield Model(
            id=spec.name,
            owned_by=spec.backend,
            kind=spec.kind,
            created=_STARTED,
            description=spec.description,
            capabilities=sorted(spec.capabilities),
            context=spec.context,
        )
    for name, policy in config.offered_policies.items():
        specs = {**config.by_name, **config.panel_experts}
        experts = [expert for expert in policy.experts or config.by_name if _open(specs[expert], allowed)]
        if experts:
            shown = experts if policy.experts else None
            yield Model(id=name, owned_by="switchyard", kind="policy", created=_STARTED, experts=shown)
    for name, panel in config.panel_experts.items():
        experts = [member.name for member in panel.members if _open(member, allowed)]
        if len(experts) >= panel.panel.quorum:
            yield Model(
                id=name,
                owned_by="switchyard",
                kind="panel",
                created=_STARTED,
                description=panel.description,
                capabilities=sorted(panel.capabilities),
                experts=experts,
            )


def _open(spec: ExpertBase, allowed: Set[str]) -> bool:
    """Whether an expert may answer, or enough of a panel's members."""
    if isinstance(spec, PanelExpert):
        return sum(_open(member, allowed) for member in spec.members) >= spec.panel.quorum
    return spec.name in allowed
