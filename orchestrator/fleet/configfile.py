"""`experts.yaml` found, read and checked: a `Config`, or every problem of the file at once, one per line.

    config = load_config(find_config(None))
    # ConfigError: experts.yaml:12: experts[1].price.input: got 'cheap', expected a number >= 0

`read_config` looks at the text alone; `load_config` also at what it refers to on this machine: environment variables and
files. Nothing is imported, started or downloaded. Not here: YAML itself (`orchestrator/fleet/yamlsource.py`), and editing the file
(`orchestrator/fleet/configedit.py`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from itertools import starmap
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator.aggregators.registry import AGGREGATORS, check_members, checked, make_aggregator
from orchestrator.config import (
    PANEL_PREFIX,
    Config,
    ExpertBase,
    LiteLLMSpec,
    LocalFile,
    OpenAISpec,
    PanelExpert,
    PanelSpec,
    PersonaSpec,
    PromptsSpec,
    ReplaySpec,
)
from orchestrator.errors import ConfigError
from orchestrator.fleet.configerrors import Problem, nearest, schema_problems
from orchestrator.fleet.memory import sleepless
from orchestrator.fleet.yamlsource import YAMLSource
from routers.encoders import HashedEncoder
from routers.registry import ROUTERS, make_router

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def find_config(explicit: Path | None) -> Path:
    """`explicit` (from `--config`), else $SWITCHYARD_CONFIG, else ./experts.yaml. Raises `ConfigError`."""
    variable = os.environ.get("SWITCHYARD_CONFIG")
    path = explicit or Path(variable or "experts.yaml")
    if path.is_file():
        return path
    if explicit or variable:
        raise ConfigError(
            f"{path}: no such file (given {'on the command line' if explicit else 'by $SWITCHYARD_CONFIG'})"
        )
    raise ConfigError("no experts.yaml in this folder: give --config FILE, or set $SWITCHYARD_CONFIG")


def config_if_any(explicit: Path | None) -> tuple[Config, Path]:
    """The configuration by its text alone, and its folder; a fleet of nobody where there is no file and none was asked for."""
    if explicit is None and "SWITCHYARD_CONFIG" not in os.environ and not Path("experts.yaml").is_file():
        return Config.model_construct(version=1, experts=()), Path()
    path = find_config(explicit)
    return read_config(path), path.parent


def load_config(path: Path) -> Config:
    """The configuration in `path`, checked against this machine. Raises `ConfigError` with every problem."""
    return _config(path, read_text(path), on_this_machine=True)


def read_config(path: Path) -> Config:
    """The configuration in `path` by its text alone: for those who don't run it here."""
    return parse_config(read_text(path), path)


def parse_config(text: str, path: Path) -> Config:
    """The configuration in `text`, without a look at files and environment. `path` is what errors call it."""
    return _config(path, text, on_this_machine=False)


def read_text(path: Path) -> str:
    """The file as UTF-8. Raises `ConfigError`."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        raise ConfigError(f"{path}:{line}: got the byte 0x{exc.object[exc.start]:02x}, expected UTF-8 text") from exc
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc


def _config(path: Path, text: str, *, on_this_machine: bool) -> Config:
    source = YAMLSource(path, text, "a mapping with version and experts")
    config, problems = _validate(source.data)
    problems += source.duplicates()
    sound = config or _validate(_without(source.data, problems))[0]
    if sound is not None:
        problems += _unknown_names(sound, path.parent)
        problems += starmap(Problem, config.unfit()) if config is not None else ()
        problems += _not_here(sound, path.parent) if on_this_machine else ()
    if config is None or problems:
        raise source.error(problems)
    return config


def _validate(data: object) -> tuple[Config | None, list[Problem]]:
    try:
        return Config.model_validate(data), []
    except ValidationError as exc:
        return None, schema_problems(exc)


def _without(data: Any, problems: list[Problem]) -> Any:
    """`data` with its broken parts left out or replaced, so that the rest is checked too."""
    broken = {problem.loc[:2] for problem in problems}
    copy = dict(data)
    for section, *rest in broken:
        content = copy.get(section)
        match section, rest:
            case "version", _:
                copy[section] = 1
            case "experts", [int(i)] if isinstance(content, list) and isinstance(content[i], dict):
                stand_in = {"name": content[i].get("name"), "backend": "echo"}
                copy[section] = [*copy[section][:i], stand_in, *copy[section][i + 1 :]]
            case "routers", [name] if isinstance(content, dict):
                copy[section] = {**content, name: {"type": "skills"}}
            case (("policies" | "panels"), [name]) if isinstance(content, dict):
                copy[section] = {key: value for key, value in content.items() if key != name}
            case (("experts" | "routers"), _):
                pass
            case _:
                copy.pop(section, None)
    return copy


def _unknown_names(config: Config, base_dir: Path) -> Iterator[Problem]:
    for loc, expected in config.dangling():
        yield Problem(loc, expected)
    for name, router in config.routers.items():
        if router.type is None:
            continue
        if router.type not in ROUTERS:
            yield Problem(("routers", name, "type"), f"got '{router.type}', {nearest(router.type, ROUTERS)}")
        elif reason := _refusal(router.type, router.parameters(base_dir)):
            yield Problem(("routers", name), reason)
    for name, panel in config.panels.items():
        if panel.aggregator not in AGGREGATORS:
            text = f"got '{panel.aggregator}', {nearest(panel.aggregator, AGGREGATORS)}"
            yield Problem(("panels", name, "aggregator"), text)
        elif reason := _unusable(panel, config.panel_experts.get(PANEL_PREFIX + name)):
            yield Problem(("panels", name), reason)


def _unusable(panel: PanelSpec, expert: PanelExpert | None) -> str | None:
    """Why its aggregator can't have these parameters, or these members. expert: None where members are unknown.

    One that reads files is made when the fleet is.
    """
    try:
        _, arguments = checked(panel.aggregator, panel.parameters)
        if not any(isinstance(value, Path) for value in arguments.values()):
            aggregator = make_aggregator(panel.aggregator, parameters=panel.parameters)
            if expert is not None:
                check_members(aggregator, expert.members, panel)
    except ConfigError as exc:
        return exc.message
    return None


def _refusal(type: str, parameters: Mapping[str, Any]) -> str | None:
    """Why the router's constructor would not take its parameters."""
    try:
        make_router(type, experts=(), encoder=HashedEncoder(), parameters=parameters)
    except ValueError as exc:
        return str(exc)
    return None


def _not_here(config: Config, base_dir: Path) -> Iterator[Problem]:
    for i, spec in enumerate(config.experts):
        if isinstance(spec, OpenAISpec | LiteLLMSpec) and (text := _unset(spec.api_key_env)):
            yield Problem(("experts", i, "api_key_env"), text)
        for key, path in _local_paths(spec):
            if not (base_dir / path).exists():
                yield Problem(("experts", i, *key), f"got '{path}', expected a file that exists")
    for name, router in config.routers.items():
        if router.artifact is not None and not (base_dir / router.artifact).is_dir():
            yield Problem(
                ("routers", name, "artifact"), f"got '{router.artifact}', expected the folder of a trained router"
            )
        if router.examples is not None and not (base_dir / router.examples).is_file():
            yield Problem(
                ("routers", name, "examples"), f"got '{router.examples}', expected an outcome file that exists"
            )
    for name, panel in config.panels.items():
        for parameter, path, what in _panel_paths(panel):
            if not (base_dir / path).exists():
                yield Problem(("panels", name, parameter), f"got '{path}', expected {what} that exists")
    yield from starmap(Problem, sleepless(config))
    keys_file = config.gateway.keys_file
    if keys_file is not None and not (base_dir / keys_file).is_file():
        yield Problem(("gateway", "keys_file"), f"got '{keys_file}', expected a file that exists")


def _unset(variable: str | None) -> str | None:
    if variable is None or os.environ.get(variable):
        return None
    if not _VARIABLE.fullmatch(variable):
        return "expected the name of an environment variable, not the key itself"
    return f"got '{variable}', expected an environment variable that is set"


def _local_paths(spec: ExpertBase) -> Iterator[tuple[tuple[str, ...], Path]]:
    for key in type(spec).model_fields:
        if isinstance(value := getattr(spec, key), LocalFile):
            yield (key, "path"), value.path
    if isinstance(spec, ReplaySpec):
        yield ("answers",), spec.answers
    if isinstance(spec, PromptsSpec):
        yield ("artifact",), spec.artifact
    if isinstance(spec, PersonaSpec) and spec.prompts is not None:
        yield ("prompts",), spec.prompts


def _panel_paths(panel: PanelSpec) -> Iterator[tuple[str, Path, str]]:
    if panel.prompts is not None:
        yield "prompts", panel.prompts, "a folder"
    if panel.aggregation is not None:
        yield "aggregation", panel.aggregation, "a file"
    try:
        _, arguments = checked(panel.aggregator, panel.parameters)
    except ConfigError:  # told by `_unusable`
        return
    yield from ((key, path, "a file or folder") for key, path in arguments.items() if isinstance(path, Path))
