"""Inspect's logs: a file per model and task, as `.json`, or as `.eval`, a zip archive of JSON files.

    {"version": 2, "eval": {"task": "gsm8k", "model": "openai/gpt-4o"}, "samples": [{"id": 1, "epoch": 1, "input": "Janet ...",
     "target": "18", "output": {"choices": [...]}, "scores": {"match": {"value": "C", "answer": "18"}}}]}

Format: inspect_ai/log/_log.py, and log/_recorders/eval.py for the archive (`header.json`, `samples/<id>_epoch_<n>.json`), of
github.com/UKGovernmentBEIS/inspect_ai; how values become numbers is `value_to_float` in scorer/_metric.py. Of several scorers the
first counts; epochs are averaged. Archives are read a sample at a time; those compressed with Zstandard need the `train` extra.
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from routers.data.importers.base import LeftOut, Trial
from routers.data.importers.records import Record, as_number, read_json, record_at, records_of
from routers.data.outcomes import OutcomeError
from routers.data.parquet import pyarrow

_ATTACHMENT = "attachment://"
_VALUES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "no": 0.0}
_LOCAL_HEADER = 30
"""Bytes of a zip entry before its name, the last four of which are the lengths of name and extra field (APPNOTE 4.3.7)."""


def trials(path: Path) -> Iterator[Trial | LeftOut]:
    """The trials in one log. Samples that failed or were not scored are left out."""
    if path.suffix != ".eval":
        log = read_json(path)
        samples = log.get("samples") if isinstance(log, dict) else None
        yield from _trials(path, log, records_of(path, samples, "'samples' as a list"))
        return
    with _archive(path) as archive:
        yield from _trials(path, _header(path, archive), _samples(path, archive))


def _trials(path: Path, header: Any, samples: Iterator[Record]) -> Iterator[Trial | LeftOut]:
    evaluation = header.get("eval") if isinstance(header, dict) else None
    if not isinstance(evaluation, dict) or not isinstance(evaluation.get("model"), str):
        raise OutcomeError(f"{path}: expected an Inspect log, with 'eval' and its 'model'")
    for sample in samples:
        yield _trial(sample, evaluation["model"], Record(path, 1, evaluation).optional_text("task"))


def _trial(sample: Record, expert: str, group: str | None) -> Trial | LeftOut:
    scores = sample.values.get("scores")
    score = next(iter(scores.values()), None) if isinstance(scores, dict) else None
    if not isinstance(score, dict):
        return LeftOut("samples without a score")
    value = _value(score.get("value"))
    if value is None:
        return LeftOut("samples whose score is no single number")
    scored = Record(sample.path, sample.number, {"value": value, "answer": score.get("answer")})
    target = sample.values.get("target")
    return Trial(
        query=Record(sample.path, sample.number, {"input": _attached(sample.values.get("input"), sample.values)}).text(
            "input"
        ),
        expert=expert,
        reward=scored.reward("value"),
        id=sample.optional_text("id"),
        group=group,
        cost=_cost(sample, expert),
        answer=scored.optional_text("answer"),
        target=target if isinstance(target, str) else None,
    )


def _value(value: Any) -> float | None:
    """As `value_to_float`, but None where that would be 0 for want of a number."""
    named = _VALUES.get(value, _VALUES.get(value.lower())) if isinstance(value, str) else None
    return as_number(value) if named is None else named


def _attached(value: Any, sample: Mapping[str, Any]) -> Any:
    """A value with the long texts that were moved to the sample's attachments put back."""
    if isinstance(value, list):
        return [_attached(item, sample) for item in value]
    if isinstance(value, dict):
        return {name: _attached(item, sample) for name, item in value.items()}
    if isinstance(value, str) and value.startswith(_ATTACHMENT):
        attachments = sample.get("attachments")
        return attachments.get(value.removeprefix(_ATTACHMENT), value) if isinstance(attachments, dict) else value
    return value


def _cost(sample: Record, expert: str) -> float | None:
    """What the model's calls cost in USD, which Inspect writes where it knows the prices."""
    usage = sample.values.get("model_usage")
    used = usage.get(expert) if isinstance(usage, dict) else None
    return Record(sample.path, sample.number, used).cost("total_cost") if isinstance(used, dict) else None


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as exc:
        raise OutcomeError(f"{path}: expected a zip archive, got a damaged file ({exc})") from exc


def _header(path: Path, archive: zipfile.ZipFile) -> Any:
    """What the log says of the whole evaluation, once it has ended or at its start."""
    for name in ("header.json", "_journal/start.json"):
        if name in archive.namelist():
            return _entry(path, archive, archive.getinfo(name))
    raise OutcomeError(f"{path}: expected 'header.json' in the archive, got {len(archive.namelist())} other files")


def _samples(path: Path, archive: zipfile.ZipFile) -> Iterator[Record]:
    entries = [entry for entry in archive.infolist() if entry.filename.startswith("samples/")]
    for number, entry in enumerate(entries, start=1):
        yield record_at(path, number, _entry(path, archive, entry), entry.filename)


def _entry(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Any:
    try:
        data = archive.read(entry)
    except NotImplementedError:  # Zstandard, which zipfile knows from Python 3.14 on
        data = _zstandard(path, entry)
    except (zipfile.BadZipFile, zlib.error, EOFError) as exc:
        raise OutcomeError(f"{path}: {entry.filename} is damaged ({exc})") from exc
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise OutcomeError(f"{path}: {entry.filename}: expected JSON ({exc})") from exc


def _zstandard(path: Path, entry: zipfile.ZipInfo) -> bytes:
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        lengths = struct.unpack("<HH", file.read(_LOCAL_HEADER)[-4:])
        file.seek(sum(lengths), 1)
        compressed = file.read(entry.compress_size)
    pa = pyarrow()
    try:
        data: bytes = pa.decompress(compressed, decompressed_size=entry.file_size, codec="zstd", asbytes=True)
    except (pa.ArrowException, OSError) as exc:
        raise OutcomeError(f"{path}: {entry.filename} is damaged ({exc})") from exc
    return data
