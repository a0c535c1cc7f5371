"""The lines of a batch: found, checked, and read one at a time, so that a file of any size takes little memory.

    scanned = scan(Path("in.jsonl"), Limits(), endpoint="/v1/chat/completions")
    scanned.faults                       # [Fault("duplicate_custom_id", "...", "custom_id", 7)]: then the file can't be used
    with Source.open(Path("in.jsonl")) as source:
        source.request(scanned.lines[0])

A line is OpenAI's: {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {...}}. Empty lines are skipped, and
so is a byte order mark. Not here: whether an expert can make anything of a body, which is its own line's affair (`reading.py`).
"""

from __future__ import annotations

import hashlib
import os
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, NamedTuple, Self

import msgspec
from msgspec import Meta, Struct

from orchestrator.bulk.reading import URLS
from orchestrator.errors import DataError

MAX_FAULTS = 100
"""Of a file, that are told."""


class Limits(NamedTuple):
    """Of one file. line_bytes: of one request."""

    requests: int = 50_000
    line_bytes: int = 20_000_000


class Fault(Struct, frozen=True):
    """Why a file can't be used, in OpenAI's terms. line: from 1."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


class Line(NamedTuple):
    """Where a request is in its file, in bytes; number counts lines from 1."""

    number: int
    offset: int
    size: int


class Request(NamedTuple):
    """What a line says. body: JSON. key: what tells this line, as it is now, from any other."""

    custom_id: str
    url: str
    body: bytes
    key: str


class _Outline(Struct):
    """A line, its body unread."""

    custom_id: Annotated[str, Meta(min_length=1, max_length=512)]
    method: str
    url: str
    body: msgspec.Raw


@dataclass(slots=True)
class Scanned:
    """What a file holds. faults: at most `MAX_FAULTS`; with any, nothing of it is asked."""

    lines: list[Line] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def scan(path: Path, limits: Limits, *, endpoint: str | None = None) -> Scanned:
    """All lines, checked. endpoint: the only `url` they may have; None allows every one. Raises OSError."""
    scanned, seen = Scanned(), set[bytes]()
    with path.open("rb") as file:
        offset = len(BOM_UTF8) if file.read(len(BOM_UTF8)) == BOM_UTF8 else 0
        file.seek(offset)
        for number, raw in enumerate(file, 1):
            if raw.strip():
                scanned.lines.append(Line(number, offset, len(raw)))
                fault = _fault(raw, limits, endpoint, seen)
                if fault is not None:
                    scanned.faults.append(msgspec.structs.replace(fault, line=number))
            if len(scanned.lines) > limits.requests:
                message = f"The file has more than the {limits.requests} requests that a batch may have."
                scanned.faults.append(Fault("too_many_tasks", message, line=number))
            if len(scanned.faults) >= MAX_FAULTS or len(scanned.lines) > limits.requests:
                return scanned
            offset += len(raw)
    if not scanned.lines:
        scanned.faults.append(Fault("empty_file", "There is no request in the file."))
    return scanned


def _fault(raw: bytes, limits: Limits, endpoint: str | None, seen: set[bytes]) -> Fault | None:
    """What is wrong with a line, if anything. seen: the digests of the ids before it; this one's is added."""
    if len(raw) > limits.line_bytes:
        return Fault("line_too_large", f"The line is longer than {limits.line_bytes} bytes.")
    try:
        outline = msgspec.json.decode(raw, type=_Outline)
    except msgspec.ValidationError as exc:
        return _misshapen(str(exc))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Fault("invalid_json_line", "This line is not parseable as valid JSON.")
    digest = hashlib.blake2b(outline.custom_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    if digest in seen:
        message = f"The custom_id {outline.custom_id!r} was used in an earlier line."
        return Fault("duplicate_custom_id", message, "custom_id")
    seen.add(digest)
    if outline.method != "POST":
        return Fault("invalid_method", f"Expected the method POST, got {outline.method!r}.", "method")
    if endpoint is not None and outline.url != endpoint:
        return Fault("mismatched_url", f"The batch is for {endpoint}, and this line for {outline.url!r}.", "url")
    if outline.url not in URLS:
        return Fault("invalid_url", f"Expected one of {', '.join(URLS)}, got {outline.url!r}.", "url")
    if not bytes(outline.body).startswith(b"{"):
        return Fault("invalid_value", "Expected an object.", "body")
    return None


def _misshapen(message: str) -> Fault:
    """A line that is JSON, and no request."""
    what, missing, name = message.partition("missing required field `")
    if missing:
        return Fault(
            "missing_required_parameter", f"Missing required parameter: '{name.rstrip('`')}'.", name.rstrip("`")
        )
    what, _, where = message.partition(" - at `$.")
    return Fault("invalid_value", f"{what}.", where.rstrip("`") or None)


class Source:
    """A file that was scanned; it must not change while it is read."""

    def __init__(self, file: int) -> None:
        self._file = file

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """Raises `DataError` when it can't be read."""
        try:
            file = os.open(path, os.O_RDONLY)
        except OSError as exc:
            raise DataError(f"{path}: can't be read: {exc.strerror}") from exc
        try:
            yield cls(file)
        finally:
            os.close(file)

    def request(self, line: Line) -> Request:
        """Raises `DataError` when the line is not what was scanned."""
        raw = os.pread(self._file, line.size, line.offset).strip()
        try:
            outline = msgspec.json.decode(raw, type=_Outline)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise DataError(f"line {line.number} was changed while the batch ran") from exc
        key = hashlib.sha256(raw).hexdigest()
        return Request(outline.custom_id, outline.url, bytes(outline.body), key)
