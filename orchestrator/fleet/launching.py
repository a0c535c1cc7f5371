"""How to launch the server of an expert, wherever it is to run.

    launch = Launch(spec, base_dir=Path("/srv/fleet"))
    launch == Launch(described_otherwise, base_dir)       # the same server
    command = launch()                            # a ServerCommand for the machine that this is called on

It travels to other machines by pickle. `experts.yaml` lies in the same folder on each of them; the weights may not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from orchestrator.config import ServedBase, Weights
from orchestrator.experts.base import Resources, ServerCommand, Site
from orchestrator.experts.registry import launch_command
from orchestrator.fleet.weights import weights_of, weights_path


@dataclass(frozen=True, slots=True, eq=False)
class Launch:
    """An `orchestrator.engines.base.Launchable`. Two are equal when the same server would come of them.

    not_inherited: environment variables that the server has no business with.
    """

    spec: ServedBase
    base_dir: Path
    not_inherited: frozenset[str] = frozenset()

    def __call__(self) -> ServerCommand:
        """Raises `ConfigError` when its weights are not on this machine."""
        site = Site(partial(weights_path, base_dir=self.base_dir), self.base_dir)
        files = tuple(map(site.weights, weights_of(self.spec)))
        return replace(launch_command(self.spec, site), files=files, not_inherited=self.not_inherited)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Launch) and self._told == other._told

    @property
    def resources(self) -> Resources:
        residency = self.spec.residency
        memory_gb = 0.0 if residency.device else residency.memory_gb or 0.0
        return Resources(self.spec.resources.cpus, self.spec.gpus, int(memory_gb * 1e9))

    @property
    def _told(self) -> tuple[ServerCommand, float, float, tuple[Weights, ...]]:
        """All that its server would be told and given; of weights what they are, not where they lie on this machine."""
        command = launch_command(self.spec, Site(lambda weights: Path("weights"), self.base_dir))
        return command, self.resources.cpus, self.resources.gpus, weights_of(self.spec)
