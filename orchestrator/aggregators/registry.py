"""The one list of aggregators: a name in `panels.*.aggregator`, and the class that it stands for, imported when it is asked for.

    aggregator = make_aggregator("synthesis", parameters={"layers": 2}, base_dir=Path("."))

A new aggregator is one module, one line here, and its prompts in a folder of its name (`orchestrator/prompts/`). The parameters of
its constructor are keys of the panel in `experts.yaml`, where relative paths count from the YAML's folder.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from orchestrator.aggregators.base import Aggregator
from orchestrator.config import ExpertBase, PanelSpec
from orchestrator.errors import ConfigError
from orchestrator.prompts import read_prompts
from routers.base import Encoder
from routers.parameters import checked_parameters

GIVEN = ("prompts", "encoders")
"""What an aggregator is handed; every other argument of a constructor is a parameter, with a JSON value."""

AGGREGATORS: dict[str, str] = {
    "first": "orchestrator.aggregators.selecting.first:First",
    "vote": "orchestrator.aggregators.selecting.vote:Vote",
    "best_of": "orchestrator.aggregators.selecting.best_of:BestOf",
    "synthesis": "orchestrator.aggregators.talking.synthesis:Synthesis",
    "council": "orchestrator.aggregators.selecting.council:Council",
    "debate": "orchestrator.aggregators.talking.debate:Debate",
    "discussion": "orchestrator.aggregators.talking.discussion:Discussion",
    "multi_expert": "orchestrator.aggregators.talking.multi_expert:MultiExpert",
    "conductor": "orchestrator.aggregators.talking.conductor:Conductor",
    "chain": "orchestrator.aggregators.talking.chain:Chain",
    "cascade": "orchestrator.aggregators.selecting.cascade:Cascade",
    "fusion_of_experts": "orchestrator.aggregators.selecting.fusion_of_experts:FusionOfExperts",
    "medprompt": "orchestrator.aggregators.selecting.medprompt:Medprompt",
    "logits": "orchestrator.aggregators.tokens.logits:Logits",
    "dynamic_logits": "orchestrator.aggregators.tokens.dynamic_logits:DynamicLogits",
    "contrast": "orchestrator.aggregators.tokens.contrast:Contrast",
}
"""Where each aggregator's class is."""


def make_aggregator(
    name: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    prompts: Path | None = None,
    base_dir: Path = Path(),
    encoders: Sequence[Encoder] = (),
) -> Aggregator:
    """The aggregator with its parameters. prompts: a folder that replaces some of its prompts. encoders: what can be read with.

    Raises `ConfigError` for an unknown name, which lists the known ones, for a parameter that its constructor does not take, and
    for what the constructor can't use.
    """
    made_by, arguments = checked(name, parameters or {})
    for key, value in arguments.items():
        if isinstance(value, Path):
            arguments[key] = base_dir / value
    given = {"prompts": read_prompts(name, prompts and base_dir / prompts), "encoders": tuple(encoders)}
    accepted = inspect.signature(made_by).parameters
    arguments |= {key: value for key, value in given.items() if key in accepted}
    try:
        return made_by(**arguments)
    except (ValueError, OSError) as exc:
        raise ConfigError(str(exc)) from exc


@runtime_checkable
class Selective(Protocol):
    """An aggregator that can't work with just any members."""

    def check(self, members: Sequence[ExpertBase], panel: PanelSpec) -> None:
        """Raises ValueError that says what is wrong with the panel, and what was expected."""
        ...


def check_members(aggregator: Aggregator, members: Sequence[ExpertBase], panel: PanelSpec) -> None:
    """See whether it can work with its panel, before it is asked to. members: the panel's. Raises `ConfigError`."""
    if isinstance(aggregator, Selective):
        try:
            aggregator.check(members, panel)
        except ValueError as exc:
            raise ConfigError(str(exc)) from exc


def checked(name: str, parameters: Mapping[str, Any]) -> tuple[type[Aggregator], dict[str, Any]]:
    """The class of an aggregator and its parameters, as its constructor declares them. Raises `ConfigError`."""
    if name not in AGGREGATORS:
        raise ConfigError(f"'{name}' is no aggregator; expected one of {', '.join(AGGREGATORS)}")
    module, _, class_name = AGGREGATORS[name].partition(":")
    made_by: type[Aggregator] = getattr(importlib.import_module(module), class_name)
    for key, parameter in inspect.signature(made_by).parameters.items():
        if parameter.default is inspect.Parameter.empty and key not in (*GIVEN, *parameters):
            raise ConfigError(f"missing parameter '{key}' of the aggregator '{name}'")
    try:
        return made_by, checked_parameters(f"the aggregator '{name}'", made_by, parameters, given=GIVEN)
    except ValueError as exc:
        raise ConfigError(str(exc)) from exc
