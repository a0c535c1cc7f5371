"""The same command wherever it is asked for, to launch in tests."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.experts.base import Resources, ServerCommand

NOTHING = Resources()


@dataclass(frozen=True)
class Fixed:
    """A `Launchable`."""

    command: ServerCommand
    resources: Resources = NOTHING

    def __call__(self) -> ServerCommand:
        return self.command
