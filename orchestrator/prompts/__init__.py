"""What experts are told by aggregators, personas and the like: one Markdown file each, which users may replace.

    prompts = read_prompts("synthesis", folder=None)
    prompts.messages("judge", question="6 x 7?", answers=quoted)      # [{"role": "system", ...}, {"role": "user", ...}]

A file is a user message; what stands above a line of `---` is the system message. `$question` and the like are filled in once
(`string.Template`), so that nothing in what is filled in is read as a placeholder; a literal dollar sign is `$$`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from orchestrator.errors import ConfigError
from orchestrator.types import Messages

SEPARATOR = "\n---\n"
NEEDED = frozenset({"question", "answers"})
"""Placeholders that a replaced prompt must keep."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts by name."""

    texts: Mapping[str, Template]

    def text(self, name: str, **values: str) -> str:
        """A prompt with `values` filled in, as one text. Raises KeyError for an unknown prompt or a value that is missing."""
        return self.texts[name].substitute(values).strip()

    def messages(self, name: str, **values: str) -> Messages:
        """A prompt as messages: its system message, if it has one, and a user message."""
        system, separator, user = self.texts[name].template.partition(SEPARATOR)
        if not separator:
            return [{"role": "user", "content": self.text(name, **values)}]
        parts = (("system", system), ("user", user))
        return [{"role": role, "content": Template(part).substitute(values).strip()} for role, part in parts]


def read_prompts(owner: str, folder: Path | None = None) -> Prompts:
    """The shipped prompts of `owner`, replaced by the files of the same names in `folder`.

    Raises `ConfigError` for a folder that isn't there, a file that replaces nothing, and one that uses a placeholder which is not
    filled in.
    """
    shipped = {}
    package = resources.files("orchestrator.prompts") / owner
    if package.is_dir():
        shipped = {Path(file.name).stem: Template(file.read_text("utf-8")) for file in package.iterdir()}
    if folder is None:
        return Prompts(shipped)
    if not folder.is_dir():
        raise ConfigError(f"prompts: there is no folder '{folder.name}'")
    if not any(folder.glob("*.md")):
        raise ConfigError(f"prompts: there is no prompt in '{folder.name}'; expected some of: {_names(shipped)}")
    replaced = {path.stem: _checked(path, shipped) for path in sorted(folder.glob("*.md"))}
    return Prompts(shipped | replaced)


def _checked(path: Path, shipped: Mapping[str, Template]) -> Template:
    """The template in `path`, which may use what the shipped one does."""
    if path.stem not in shipped:
        known = f"expected some of: {_names(shipped)}" if shipped else "there are none to replace"
        raise ConfigError(f"prompts: '{path.name}' replaces no prompt that there is; {known}")
    template = Template(path.read_text("utf-8"))
    if not template.is_valid():
        raise ConfigError(f"prompts: '{path.name}' has a '$' that begins no placeholder; write '$$' for a dollar sign")
    known_names = shipped[path.stem].get_identifiers()
    if unknown := sorted(set(template.get_identifiers()) - set(known_names)):
        expected = ", ".join(f"${name}" for name in known_names)
        raise ConfigError(f"prompts: '{path.name}' uses '${unknown[0]}'; expected some of: {expected}")
    if lost := sorted(NEEDED.intersection(known_names) - set(template.get_identifiers())):
        raise ConfigError(f"prompts: '{path.name}' has lost '${lost[0]}', without which there is nothing to answer")
    return template


def _names(shipped: Mapping[str, Template]) -> str:
    return ", ".join(f"{name}.md" for name in sorted(shipped))
