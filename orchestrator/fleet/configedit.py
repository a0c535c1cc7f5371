"""Adding, removing and placing experts in `experts.yaml` without touching anything else in it: comments, order and layout stay.

    add_expert(path, {"name": "gpt", "backend": "openai", "base_url": "https://api.example.com/v1", "context": 128000})
    remove_expert(path, "gpt")
    place_experts(path, {"small": ["10.0.0.5"]})

The new text is validated before it replaces the old one, in one step. Files and environment are not looked at: they belong to
the machine and shell that serve. Only lists written with dashes are edited. Keys of mappings: `mappingedit.py`.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import Node, SequenceNode

from orchestrator.errors import ConfigError
from orchestrator.fleet.configfile import parse_config, read_text
from orchestrator.fleet.mappingedit import in_braces, last_line, lines_of, with_value, without


def add_expert(path: Path, spec: Mapping[str, Any]) -> None:
    """Append an expert to the list. Raises `ConfigError` when the file would not be valid then."""
    text = read_text(path)
    parse_config(text, path)
    experts = _experts(text, path)
    lines = lines_of(text)
    end = last_line(experts) + 1
    if not lines[end - 1].endswith("\n"):
        lines[end - 1] += "\n"
    item = as_item(spec, indent=experts.start_mark.column)
    replace_text(path, "".join([*lines[:end], item, *lines[end:]]))


def remove_expert(path: Path, name: str) -> None:
    """Take an expert out, with the comment lines right above it. Raises `ConfigError` when others still need it."""
    text = read_text(path)
    names = [spec.name for spec in parse_config(text, path).experts]
    if name not in names:
        raise ConfigError(f"{path}: '{name}' is no expert; expected one of {', '.join(names)}")
    experts = _experts(text, path)
    item = experts.value[names.index(name)]
    lines = lines_of(text)
    first, end = _extent(lines, item, dash=experts.start_mark.column)
    emptied = [line if not first <= i < end else "\n" for i, line in enumerate(lines)]
    parse_config("".join(emptied), path)  # with every other line where it was, so that errors point at it
    is_last = item is experts.value[-1]
    if end < len(lines) and not lines[end].strip() and not (is_last and lines[first - 1].strip()):
        end += 1
    replace_text(path, "".join(lines[:first] + lines[end:]))


def place_experts(path: Path, placement: Mapping[str, Sequence[str]]) -> None:
    """Say on which nodes these experts are to live; of others, nothing changes. Raises `ConfigError` for one that there isn't."""
    text = read_text(path)
    there = parse_config(text, path).placement
    section = {name: list(nodes) for name, nodes in {**there, **placement}.items()}
    replace_text(path, with_value(without(text, ("placement",)).rstrip("\n") + "\n", ("placement",), section))


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """`["price.input=2.5", "skills=[code]"]` -> `{"price": {"input": 2.5}, "skills": ["code"]}`; values are YAML."""
    spec: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"got '{setting}', expected KEY=VALUE")
        *outer, last = key.split(".")
        inner = spec
        for name in outer:
            inner = inner.setdefault(name, {})
        try:
            inner[last] = YAML(typ="safe", pure=True).load(value)
        except (YAMLError, TypeError) as exc:
            raise ConfigError(f"got '{setting}', expected KEY=VALUE with a value in YAML") from exc
    return spec


def _experts(text: str, path: Path) -> SequenceNode:
    """The list of experts as a node that knows its lines."""
    root = YAML(typ="safe", pure=True).compose(text)
    node = next(value for key, value in root.value if key.value == "experts")
    if not isinstance(node, SequenceNode) or node.flow_style:
        raise ConfigError(
            f"{path}:{node.start_mark.line + 1}: experts: expected a list written with dashes, to edit it"
        )
    return node


def _extent(lines: list[str], item: Node, dash: int) -> tuple[int, int]:
    """The lines `first <= i < end` of a list's item, with comments right above it and those indented below it."""
    first, end = int(item.start_mark.line), last_line(item) + 1
    while not lines[first].startswith(" " * dash + "-"):
        first -= 1
    while first and lines[first - 1].startswith(" " * dash + "#"):
        first -= 1
    while end < len(lines) and lines[end].startswith(" " * (dash + 1)) and lines[end].lstrip().startswith("#"):
        end += 1
    return first, end


def as_item(spec: Mapping[str, Any], *, indent: int) -> str:
    """The YAML of one item, as a person would write it: what is nested stands in braces."""
    item = CommentedMap()
    for key, value in spec.items():
        item[key] = in_braces(value)
    yaml = YAML()
    yaml.width = 132
    stream = io.StringIO()
    yaml.dump(item, stream)
    dashed = [
        "- " + line if i == 0 else "  " + line for i, line in enumerate(stream.getvalue().splitlines(keepends=True))
    ]
    return "".join(" " * indent + line for line in dashed)


def replace_text(path: Path, text: str) -> None:
    """Validate the text, then put it in the file's place in one step, with its mode. A link stays a link."""
    parse_config(text, path)
    target = path.resolve()
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        shutil.copymode(target, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
