"""A trained router on disk: a folder of `config.json`, `weights.safetensors` and `card.md`. Loading one executes nothing.

    save_artifact(Path("artifacts/support"), router, costs=costs, card="# support ...")
    artifact = load_artifact(Path("artifacts/support"), encoders=[encoder], experts=cards)
    artifact.router.predict(["What is 17 * 23?"])

What is saved of a router: its type, its constructor's parameters, the fingerprint of its encoder, and what `fit` learned, which is
every attribute that ends in `_`. Arrays are tensors, the rest JSON, and both are under a checksum: a file that was cut short,
changed, or written by another version is refused with its reason. The folder appears whole or not at all.
Not here: which folder is live (`experts.yaml` says), and what is in the card (`routers/training/fitting.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, get_origin, get_type_hints

import numpy as np
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from routers.base import Encoder, ExpertCard, Router
from routers.data.costs import CostModel
from routers.encoders import find_encoder
from routers.registry import make_router, parameters_of

FORMAT = 1
CONFIG, WEIGHTS, CARD = "config.json", "weights.safetensors", "card.md"


class ArtifactError(ValueError):
    """A folder that is no artifact, or not one that can be used here. The text names file, what was found and what was expected."""


class Learned(Protocol):
    """What can be saved: a router, or what else is learned of experts in the routers' convention."""

    type: ClassVar[str]

    @property
    def experts_(self) -> tuple[str, ...]: ...


class Make(Protocol):
    """How something unfitted is made of its type and parameters: `routers.registry.make_router`."""

    def __call__(
        self, type: str, *, experts: Sequence[ExpertCard], encoder: Encoder | None, parameters: Mapping[str, Any]
    ) -> Any: ...


@dataclass(frozen=True, slots=True)
class _State:
    """A router as JSON."""

    type: str
    parameters: dict[str, Any]
    encoder: str | None
    learned: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Config:
    """What `config.json` holds besides its format."""

    experts: tuple[str, ...]
    router: dict[str, Any]
    costs: dict[str, Any] | None
    metrics: dict[str, Any]
    weights_sha256: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """fingerprint: of the whole artifact, in every decision that it made. costs: None where the outcomes had none in USD."""

    router: Router
    costs: CostModel | None
    fingerprint: str
    metrics: Mapping[str, Any]


def save_artifact(
    folder: Path,
    router: Learned,
    *,
    costs: CostModel | None = None,
    metrics: Mapping[str, Any] | None = None,
    card: str,
) -> str:
    """Write the folder, or put it in the place of an artifact that is there, and return its fingerprint.

    Raises ArtifactError when `folder` holds anything that is no artifact.
    """
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    body: dict[str, Any] = {"format": FORMAT, "experts": list(router.experts_), "router": _state(router, "", tensors)}
    body |= {"costs": None if costs is None else asdict(costs), "metrics": dict(metrics or {})}
    return write_folder(folder, body, tensors, {CARD: card})


def write_folder(
    folder: Path,
    body: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray[Any, Any]],
    texts: Mapping[str, str],
) -> str:
    """Write `config.json` of `body`, `weights.safetensors` and `texts` by file name; returns the fingerprint.

    The folder appears whole, perhaps in the place of an artifact that is there. Raises ArtifactError as `require_replaceable`.
    """
    require_replaceable(folder)
    weights = save_tensors(dict(tensors))
    sealed = {**body, "weights_sha256": hashlib.sha256(weights).hexdigest()}
    fingerprint = _fingerprint(sealed)
    folder.parent.mkdir(parents=True, exist_ok=True)
    written = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        (written / WEIGHTS).write_bytes(weights)
        config = json.dumps({**sealed, "fingerprint": fingerprint}, indent=1)
        for name, text in {CONFIG: f"{config}\n", **texts}.items():
            (written / name).write_text(text, encoding="utf-8")
        written.chmod(0o755)
        _take_place(written, folder)
    finally:
        shutil.rmtree(written, ignore_errors=True)
    return fingerprint


def load_artifact(
    folder: Path,
    *,
    encoders: Sequence[Encoder] = (),
    experts: Sequence[ExpertCard] = (),
    make: Make = make_router,
) -> Artifact:
    """encoders: those there are here; the router gets the one it learned with. experts: cards, for experts added later.

    make: for artifacts of what is no router.

    Raises ArtifactError for a folder that is missing, damaged, of another format, or learned with another encoder.
    """
    body = _read_config(folder / CONFIG)
    tensors = read_tensors(folder / WEIGHTS, body.weights_sha256)
    try:
        router = _restored(body.router, tensors, encoders, experts, make)
        costs = None if body.costs is None else TypeAdapter(CostModel).validate_python(body.costs)
        if router.experts_ != body.experts:
            raise ValueError(f"its router knows {', '.join(router.experts_)}, expected {', '.join(body.experts)}")
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as exc:
        # Whoever wrote a checksum that fits may have written anything else.
        raise ArtifactError(f"{folder}: can't be used: {exc}") from exc
    return Artifact(router, costs, body.fingerprint, body.metrics)


def artifact_experts(folder: Path) -> tuple[str, ...]:
    """The experts that the artifact's router was trained for, without loading its weights. Raises ArtifactError."""
    return _read_config(folder / CONFIG).experts


def artifact_fingerprint(folder: Path) -> str:
    """What `Artifact.fingerprint` would be, without loading the weights. Raises ArtifactError."""
    return _read_config(folder / CONFIG).fingerprint


def require_replaceable(folder: Path) -> None:
    """Raises ArtifactError when `folder` holds anything that is no artifact."""
    if folder.exists() and not _is_replaceable(folder):
        raise ArtifactError(
            f"{folder}: is there and is no artifact; expected a new or empty folder, or an artifact to replace"
        )


def _is_replaceable(folder: Path) -> bool:
    return folder.is_dir() and ((folder / CONFIG).is_file() or not any(folder.iterdir()))


def _take_place(written: Path, folder: Path) -> None:
    """Swap the new folder in; what was there is deleted only when the new one stands."""
    if not folder.exists():
        written.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    os.replace(folder, old)  # noqa: PTH105  Path.replace says the same
    written.rename(folder)
    shutil.rmtree(old)


def _fingerprint(body: Mapping[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(canonical).hexdigest()[:16]


def _state(router: Any, prefix: str, tensors: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    """A router as JSON; its arrays go to `tensors` under `prefix`."""
    learned = {name: value for name, value in vars(router).items() if name.endswith("_") and not name.startswith("_")}
    return {
        "type": router.type,
        "parameters": parameters_of(router),
        "encoder": router.encoder.fingerprint if hasattr(router, "encoder") else None,
        "learned": {name: _plain(value, f"{prefix}{name}", tensors) for name, value in learned.items()},
    }


def _plain(value: Any, name: str, tensors: dict[str, np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, np.ndarray):
        tensors[name] = np.ascontiguousarray(value)
        return {"tensor": name}
    if hasattr(value, "fit"):
        return {"nested": _state(value, f"{name}.", tensors)}
    if is_dataclass(value) and not isinstance(value, type):
        return {key: _plain(item, f"{name}.{key}", tensors) for key, item in asdict(value).items()}
    if isinstance(value, Mapping):
        return {key: _plain(item, f"{name}.{key}", tensors) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{name}.{i}", tensors) for i, item in enumerate(value)]
    return value.item() if isinstance(value, np.generic) else value


def _read_config(path: Path) -> _Config:
    body = read_body(path, "a trained router", "train the router again")
    try:
        return TypeAdapter(_Config).validate_python(body)
    except ValidationError as exc:
        raise ArtifactError(f"{path}: is not what was expected: {_first(exc)}") from exc


def read_body(path: Path, kind: str, remedy: str) -> dict[str, Any]:
    """What a `config.json` says, fingerprint included. kind: what the folder should hold. remedy: against another format.

    Raises ArtifactError.
    """
    try:
        body = json.loads(path.read_bytes())
    except OSError as exc:
        raise ArtifactError(f"{path}: can't be read ({exc.strerror}); expected the folder of {kind}") from exc
    except (ValueError, RecursionError) as exc:
        raise ArtifactError(f"{path}: damaged: expected a JSON object, got broken JSON ({exc})") from exc
    if not isinstance(body, dict) or "format" not in body:
        raise ArtifactError(f"{path}: is no artifact's: expected a JSON object with 'format'")
    if body["format"] != FORMAT:
        raise ArtifactError(f"{path}: has format {body['format']!r}, expected {FORMAT}: {remedy}")
    stated = body.pop("fingerprint", None)
    if stated != _fingerprint(body):
        raise ArtifactError(f"{path}: damaged: its content does not match its fingerprint {stated!r}")
    return {**body, "fingerprint": stated}


def _first(exc: ValidationError) -> str:
    error = exc.errors()[0]
    return f"'{'.'.join(map(str, error['loc']))}': {error['msg']}"


def read_tensors(path: Path, sha256: str) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors of a `weights.safetensors` whose hash is known. Raises ArtifactError."""
    try:
        data = path.read_bytes()
        if (found := hashlib.sha256(data).hexdigest()) != sha256:
            raise ArtifactError(
                f"{path}: damaged: expected sha256 {sha256[:16]}…, got {found[:16]}…, {len(data)} bytes"
            )
        tensors: dict[str, np.ndarray[Any, Any]] = load_tensors(data)
    except OSError as exc:
        raise ArtifactError(f"{path}: can't be read ({exc.strerror})") from exc
    except (SafetensorError, KeyError) as exc:  # KeyError: of a type that numpy hasn't
        raise ArtifactError(f"{path}: damaged: expected safetensors ({exc})") from exc
    if infinite := [name for name, tensor in tensors.items() if not np.isfinite(tensor).all()]:
        raise ArtifactError(f"{path}: damaged: expected finite numbers in '{infinite[0]}'")
    return tensors


def _restored(
    found: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray[Any, Any]],
    encoders: Sequence[Encoder],
    experts: Sequence[ExpertCard],
    make: Make,
) -> Any:
    state = TypeAdapter(_State).validate_python(found)
    encoder = None if state.encoder is None else find_encoder(state.encoder, encoders)
    router = make(state.type, experts=experts, encoder=encoder, parameters=state.parameters)
    expected = {name: hint for name, hint in get_type_hints(type(router)).items() if name.endswith("_")}
    if state.learned.keys() != expected.keys():
        differing = min(state.learned.keys() ^ expected.keys())
        raise ValueError(f"a router of type '{state.type}' that was trained by another version ('{differing}')")
    for name, value in state.learned.items():
        setattr(router, name, _typed(_rich(value, tensors, encoders, experts, make), value, expected[name], name))
    return router


def _rich(
    value: Any, tensors: Mapping[str, Any], encoders: Sequence[Encoder], experts: Sequence[ExpertCard], make: Make
) -> Any:
    """JSON with tensors and routers in their places, and tuples for lists."""
    if isinstance(value, Mapping):
        if value.keys() == {"tensor"}:
            return tensors[value["tensor"]]
        if value.keys() == {"nested"}:
            return _restored(value["nested"], tensors, encoders, experts, make)
        return {key: _rich(item, tensors, encoders, experts, make) for key, item in value.items()}
    return tuple(_rich(item, tensors, encoders, experts, make) for item in value) if isinstance(value, list) else value


def _typed(value: Any, raw: Any, hint: Any, name: str) -> Any:
    """A value as its annotation says; what holds tensors or routers has been checked when it was saved."""
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, dict):
        return hint(**value)
    text = json.dumps(raw)
    if get_origin(hint) is tuple and isinstance(value, tuple) and not value:  # of routers or tensors, there may be none
        return value
    if '{"tensor": ' in text or '{"nested": ' in text:
        return value
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as exc:
        raise ValueError(f"'{name}' is not what was expected: {exc.errors()[0]['msg']}") from exc
