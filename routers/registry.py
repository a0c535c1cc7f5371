"""Every router type by name, imported when it is asked for.

    router = make_router("random", experts=cards, encoder=None, parameters={"seed": 7}).fit()

Parameters are checked against the constructor's annotations, so a typo in `experts.yaml` is an error and never silence.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from routers.base import Encoder, ExpertCard, Router
from routers.parameters import checked_parameters

GIVEN = ("experts", "encoder", "tagger", "assess")
"""What a router is handed by whoever makes it. Every other argument of a constructor is a parameter, with a JSON value."""


ROUTERS: dict[str, str] = {
    "random": "routers.families.baselines:RandomRouter",
    "cheapest": "routers.families.baselines:CheapestRouter",
    "fixed": "routers.families.baselines:FixedRouter",
    "best_single": "routers.families.baselines:BestSingleRouter",
    "skills": "routers.families.skills:SkillsRouter",
    "self_select": "routers.families.self_select:SelfSelectRouter",
    "linear": "routers.families.linear:LinearRouter",
    "tagged": "routers.families.tagged:TaggedRouter",
    "auto": "routers.families.auto:AutoRouter",
    "knn": "routers.families.knn:KnnRouter",
    "nearest": "routers.families.nearest:NearestRouter",
    "neighbours": "routers.families.neighbours:NeighboursRouter",
    "kshot": "routers.families.kshot:KshotRouter",
    "zooter": "routers.families.zooter:ZooterRouter",
    "mlp": "routers.families.mlp:MlpRouter",
    "contrastive": "routers.families.contrastive:ContrastiveRouter",
    "gates": "routers.families.gates:GatesRouter",
    "bandit": "routers.families.bandit:BanditRouter",
    "retriever": "routers.families.retriever:RetrieverRouter",
    "cluster": "routers.families.cluster:ClusterRouter",
    "tree": "routers.families.tree:TreeRouter",
    "composition": "routers.families.composition:CompositionRouter",
    "hierarchical": "routers.families.hierarchical:HierarchicalRouter",
    "factorization": "routers.families.factorization:FactorizationRouter",
}
"""Where each type's class is."""


def router_class(type: str) -> builtins.type[Router]:
    """The class of a type, imported now. Raises ValueError, with those that there are, for an unknown one."""
    if type not in ROUTERS:
        raise ValueError(f"unknown router type '{type}', expected one of {', '.join(ROUTERS)}")
    module, _, name = ROUTERS[type].partition(":")
    found: builtins.type[Router] = getattr(importlib.import_module(module), name)
    return found


def make_router(
    type: str, *, experts: Sequence[ExpertCard], encoder: Encoder | None, parameters: Mapping[str, Any]
) -> Router:
    """A router that is not fitted yet. Raises ValueError for an unknown type, a wrong parameter, or a missing encoder."""
    router: Callable[..., Router] = router_class(type)
    arguments = checked_parameters(f"a router of type '{type}'", router, parameters, given=GIVEN)
    if "encoder" in inspect.signature(router).parameters:
        if encoder is None:
            raise ValueError(f"a router of type '{type}' needs an encoder")
        arguments["encoder"] = encoder
    return router(experts=tuple(experts), **arguments)


def parameters_of(router: Router) -> dict[str, Any]:
    """What `make_router` needs as `parameters` to make another like it."""
    return {
        name: getattr(router, name) for name in inspect.signature(builtins.type(router)).parameters if name not in GIVEN
    }
