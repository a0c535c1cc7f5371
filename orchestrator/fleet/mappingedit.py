"""Setting and removing keys of mappings in a YAML text without touching anything else in it: comments, order and layout stay.

    text = with_value(text, ("policies", "auto", "router"), "support")
    text = without(text, ("routers", "old"))

What is missing on the way to a key is made. A mapping is written as its neighbours are: on lines of their own, or in braces. Pure;
validating and replacing the file is in `configedit.py`, which also edits the list of experts.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode
from ruamel.yaml.scalarstring import SingleQuotedScalarString


def with_value(text: str, keys: Sequence[str], value: str | Mapping[str, Any]) -> str:
    """The text with `value` at the end of `keys`, whatever stood there. Raises ValueError where that is a mapping over lines."""
    node = _root(text)
    for depth, key in enumerate(keys):
        inner = _nested(keys[depth + 1 :], value)
        entry = next((entry for entry in node.value if entry[0].value == key), None)
        if entry is None:
            return _inserted(text, node, key, inner)
        node = entry[1]
        if not isinstance(node, MappingNode) or (depth == len(keys) - 1 and node.flow_style):
            return _replaced(text, node, inner)
    raise ValueError(f"'{'.'.join(keys)}' is a mapping over several lines, expected a value")


def without(text: str, keys: Sequence[str]) -> str:
    """The text without that key; unchanged where it isn't there."""
    parent = _root(text)
    for key in keys[:-1]:
        found = next((value for name, value in parent.value if name.value == key), None)
        if not isinstance(found, MappingNode):
            return text
        parent = found
    names = [name.value for name, _ in parent.value]
    return _removed(text, parent, names.index(keys[-1])) if keys[-1] in names else text


def lines_of(text: str) -> list[str]:
    """The lines with their ends, as YAML counts them: other characters that Python splits lines at, it takes as text."""
    return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text)


def last_line(node: Node) -> int:
    """The index of the last line that belongs to a node."""
    if isinstance(node, CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return max(last_line(part) for part in (last if isinstance(last, tuple) else (last,)))
    is_block_text = isinstance(node, ScalarNode) and node.style in ("|", ">")
    return int(node.end_mark.line) - (is_block_text and node.end_mark.column == 0)


def in_braces(value: Any) -> Any:
    """A mapping or list that ruamel writes on one line; anything else as it is, but text in quotes where ruamel forgets them."""
    if isinstance(value, str) and value.startswith(":"):
        return SingleQuotedScalarString(value)
    if not isinstance(value, Mapping | list):
        return value
    node: CommentedMap | CommentedSeq = CommentedMap(value) if isinstance(value, Mapping) else CommentedSeq(value)
    node.fa.set_flow_style()
    return node


def _root(text: str) -> MappingNode:
    root: MappingNode = YAML(typ="safe", pure=True).compose(text)
    return root


def _nested(keys: Sequence[str], value: Any) -> Any:
    return {keys[0]: _nested(keys[1:], value)} if keys else value


def _inserted(text: str, node: MappingNode, key: str, value: Any) -> str:
    if node.flow_style:
        at = node.value[-1][1].end_mark.index if node.value else node.start_mark.index + 1
        return text[:at] + (", " if node.value else "") + f"{_flow(key)}: {_flow(value)}" + text[at:]
    lines = lines_of(text)
    end, indent = last_line(node) + 1, node.start_mark.column
    if not lines[end - 1].endswith(("\n", "\r")):
        lines[end - 1] += "\n"
    return "".join([*lines[:end], _block(key, value, indent), *lines[end:]])


def _block(key: str, value: Any, indent: int) -> str:
    """An entry on lines of its own; a new section of the file has its entries on theirs."""
    if indent or not isinstance(value, Mapping):
        return f"{' ' * indent}{_flow(key)}: {_flow(value)}\n"
    entries = "".join(f"  {_flow(inner)}: {_flow(content)}\n" for inner, content in value.items())
    return f"\n{_flow(key)}:\n{entries}"


def _replaced(text: str, node: Node, value: Any) -> str:
    return text[: node.start_mark.index] + _flow(value) + text[node.end_mark.index :]


def _removed(text: str, parent: MappingNode, index: int) -> str:
    key, value = parent.value[index]
    if not parent.flow_style:
        lines = lines_of(text)
        return "".join(lines[: key.start_mark.line] + lines[last_line(value) + 1 :])
    if index:
        return text[: parent.value[index - 1][1].end_mark.index] + text[value.end_mark.index :]
    following = parent.value[1][0].start_mark.index if len(parent.value) > 1 else value.end_mark.index
    return text[: key.start_mark.index] + text[following:]


def _flow(value: Any) -> str:
    """The value as YAML on one line."""
    inner = {name: in_braces(content) for name, content in value.items()} if isinstance(value, Mapping) else value
    yaml = YAML()
    yaml.width = 1_000_000
    stream = io.StringIO()
    yaml.dump(in_braces({"k": in_braces(inner)}), stream)
    return stream.getvalue().strip().removeprefix("{k: ").removesuffix("}")
