"""`switchyard promote`: a trained router goes live by a change of `experts.yaml`, which a running gateway notices.

    promote(Path("experts.yaml"), Path("artifacts/support"), policy="auto").router       # "support-9f3c1a2b"
    roll_back(Path("experts.yaml"), policy="auto")

The artifact is checked against the fleet, then copied to `.switchyard/routers/NAME-FINGERPRINT` beside the YAML, so that training
again into the same folder changes nothing that is live. The YAML says all that follows from it:

    routers:
      support-9f3c1a2b: {artifact: .switchyard/routers/support-9f3c1a2b}
    policies:
      auto: {router: support-9f3c1a2b, previous: default}

`roll_back` exchanges the two. Promoted routers that no policy names any more are taken out of the YAML; their copies stay on disk.
Before the YAML changes, its routers are loaded once, as a gateway would load them.
"""

from __future__ import annotations

import filecmp
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from orchestrator.config import Config, PolicySpec, RouterSpec
from orchestrator.errors import ConfigError
from orchestrator.fleet.configedit import replace_text
from orchestrator.fleet.configfile import load_config, parse_config, read_text
from orchestrator.fleet.encoding import Encoders
from orchestrator.fleet.mappingedit import with_value, without
from orchestrator.fleet.routers import make_scorers
from routers.artifact import CONFIG, WEIGHTS, ArtifactError, artifact_fingerprint

PROMOTED = Path(".switchyard") / "routers"
"""Where copies of promoted artifacts lie, from the YAML's folder."""


def promote(path: Path, folder: Path, *, policy: str, shadow: bool = False) -> PolicySpec:
    """Make the artifact in `folder` the policy's router, or its shadow, whose scores are recorded and change nothing.

    Returns the policy as it is now. Raises `ConfigError`, and leaves the YAML as it is, when that or the artifact can't be used.
    """
    config = load_config(path)
    before = _policy(config, policy)
    name = _name(folder)
    _check(config.model_copy(update={"routers": {name: RouterSpec(artifact=folder.resolve())}}), path.parent)
    _copy(folder, path.parent / PROMOTED / name)
    text = read_text(path)
    if name not in config.routers:
        text = with_value(text, ("routers", name), {"artifact": str(PROMOTED / name)})
    if shadow:
        text = with_value(text, ("policies", policy, "shadow"), name)
    elif before.router != name:
        text = with_value(text, ("policies", policy, "router"), name)
        text = with_value(text, ("policies", policy, "previous"), before.router)
        text = without(text, ("policies", policy, "shadow")) if before.shadow == name else text
    return _written(path, _swept(text, path), config, policy)


def roll_back(path: Path, *, policy: str) -> PolicySpec:
    """Exchange the policy's router and its `previous` one. Raises `ConfigError` when it has none, or one of them can't be used."""
    config = load_config(path)
    before = _policy(config, policy)
    if before.previous is None:
        raise ConfigError(f"{path}: policies.{policy} has no `previous` router to return to: nothing was promoted")
    text = with_value(read_text(path), ("policies", policy, "router"), before.previous)
    return _written(path, with_value(text, ("policies", policy, "previous"), before.router), config, policy)


def _policy(config: Config, name: str) -> PolicySpec:
    if name not in config.offered_policies:
        raise ConfigError(f"'{name}' is no policy; expected one of {', '.join(config.offered_policies)}")
    return config.offered_policies[name]


def _name(folder: Path) -> str:
    """The folder's name with the artifact's fingerprint, once."""
    try:
        fingerprint = artifact_fingerprint(folder)[:8]
    except ArtifactError as exc:
        raise ConfigError(str(exc)) from exc
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("._-")[:100] or "router"
    return stem if stem.endswith(f"-{fingerprint}") else f"{stem}-{fingerprint}"


def _check(config: Config, base_dir: Path) -> None:
    """That the gateway would take its routers. Raises `ConfigError`."""
    make_scorers(config, Encoders().of(config, base_dir), base_dir)


def _copy(folder: Path, target: Path) -> None:
    """The copy appears whole or not at all. One that is there stays, unless it was damaged. Raises `ConfigError`."""
    if not any(filecmp.cmpfiles(folder, target, (CONFIG, WEIGHTS), shallow=False)[1:]):
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".copy-", dir=target.parent) as place:
            fresh = shutil.copytree(folder, Path(place) / "fresh")
            if target.exists():
                target.replace(Path(place) / "damaged")
            fresh.replace(target)
    except OSError as exc:
        raise ConfigError(f"{target}: can't be written: {exc.strerror or exc}") from exc


def _written(path: Path, text: str, before: Config, policy: str) -> PolicySpec:
    """Put the text in the file's place, unless the gateway would refuse it, or other policies would change with it, as those do
    that share an alias."""
    after = parse_config(text, path)
    if _others(after, policy) != _others(before, policy):
        raise ConfigError(
            f"{path}: policies.{policy} is shared with another policy by an alias; expected one of its own"
        )
    _check(after, path.parent)
    replace_text(path, text)
    return _policy(after, policy)


def _others(config: Config, policy: str) -> dict[str, PolicySpec]:
    return {name: spec for name, spec in config.policies.items() if name != policy}


def _swept(text: str, path: Path) -> str:
    """Without the promoted routers that no policy names."""
    for name in _unused(parse_config(text, path)):
        text = without(text, ("routers", name))
    return text


def _unused(config: Config) -> Iterator[str]:
    used = {name for spec in config.policies.values() for name in (spec.router, spec.previous, spec.shadow)}
    for name, router in config.routers.items():
        if router.artifact is not None and router.artifact.parent == PROMOTED and name not in used:
            yield name
