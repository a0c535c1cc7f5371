"""A YAML file as data, and as nodes that know their lines.

    source = YAMLSource(path, text, "a mapping with version and experts")
    source.data["experts"][1]["price"]
    source.line(("experts", 1, "price"))          # 12

Not here: what the data must be like (`configerrors.py`, `planfiles.py`), and editing a file (`configedit.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode
from ruamel.yaml.reader import ReaderError

from orchestrator.errors import ConfigError
from orchestrator.fleet.configerrors import Loc, Problem, got


class YAMLSource:
    """path: what errors call it. expected: what the whole is, in words. Raises `ConfigError` for what is no YAML, or no mapping."""

    def __init__(self, path: Path, text: str, expected: str) -> None:
        self._path = path
        yaml = YAML(typ="safe", pure=True)
        yaml.allow_duplicate_keys = True
        try:
            root = yaml.compose(text)
            self.data: Any = yaml.load(text)
        except MarkedYAMLError as exc:
            line = exc.problem_mark.line + 1 if exc.problem_mark else 1
            raise ConfigError(f"{path}:{line}: not valid YAML: {exc.problem or exc.context}") from exc
        except ReaderError as exc:
            line = text.count("\n", 0, exc.position) + 1
            raise ConfigError(f"{path}:{line}: not valid YAML: unacceptable character #x{exc.character:04x}") from exc
        except (YAMLError, RecursionError) as exc:
            raise ConfigError(f"{path}: not valid YAML: {' '.join(str(exc).split())}") from exc
        if not isinstance(root, MappingNode):
            line = root.start_mark.line + 1 if root else 1
            found = "the file is empty" if self.data is None else got((), self.data)
            raise ConfigError(f"{path}:{line}: {found}, expected {expected}")
        self._root: Node = root

    def line(self, loc: Loc) -> int:
        """Where the key or item at `loc` stands, or else its nearest ancestor."""
        node, mark = self._root, self._root.start_mark
        for key in loc:
            found = next((child for child in _children(node) if child[0] == str(key)), None)
            if found is None:
                break
            mark, node = found[1].start_mark, found[2]
        return int(mark.line) + 1

    def duplicates(self) -> list[Problem]:
        """Keys that stand twice in a mapping, of which a YAML reader keeps one without a word."""
        return list(_duplicates(self._root, (), set()))

    def error(self, problems: list[Problem]) -> ConfigError:
        """All of them, by line."""
        lines = sorted((self.line(problem.loc), f"{problem}") for problem in problems)
        return ConfigError("\n".join(f"{self._path}:{line}: {text}" for line, text in dict.fromkeys(lines)))


def _children(node: Node) -> Iterator[tuple[str, Node, Node]]:
    """`(key or index, the node to point at, the value's node)`."""
    if isinstance(node, MappingNode):
        yield from ((str(key.value), key, value) for key, value in node.value)
    elif isinstance(node, SequenceNode):
        yield from ((str(i), value, value) for i, value in enumerate(node.value))


def _duplicates(node: Node, loc: Loc, seen: set[int]) -> Iterator[Problem]:
    if id(node) in seen:
        return
    seen.add(id(node))
    names: dict[str, int] = {}
    for name, key, value in _children(node):
        here = (*loc, int(name) if isinstance(node, SequenceNode) else name)
        line = int(key.start_mark.line) + 1
        if name in names:
            yield Problem(here, f"the key stands twice, in lines {names[name]} and {line}")
        names[name] = line
        yield from _duplicates(value, here, seen)
