"""Every call that was answered, written down before anything is made of it: what was paid for is never asked again.

    with Journal.open(Path("O.jsonl.journal")) as journal:
        journal.add("5f1c...", Entry("gpt-large", "It is 4.", 0.0003))
        journal.get("5f1c...")                    # in every later run, too

One JSON line a call, in the operating system's hands before the next thing happens, so a killed process loses none; a line that was
cut short is dropped. Where each line is, is held in memory; what it says is not. One process at a time holds a journal. Not here:
what makes two calls the same (`asking.py`, and for batches `orchestrator/bulk/asking.py`).
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from orchestrator.errors import LabelError


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """expert: who was asked. value: a text, a number, or None for an answer that is none. cost_usd: by its price then.

    measured: what else whoever asked wants to keep of the call, by name.
    """

    expert: str
    value: str | float | None
    cost_usd: float = 0.0
    measured: dict[str, float] = {}


class _Line(msgspec.Struct, frozen=True):
    key: str
    entry: Entry


_BEGINNING = b'{"key":"'
"""Of every line."""


class _Span(NamedTuple):
    """Where a line is, in bytes."""

    offset: int
    size: int


class Journal:
    """file: a descriptor that appends."""

    def __init__(self, path: Path, file: int) -> None:
        """Raises `LabelError` when what is in it can't be read."""
        self._path = path
        self._file = file
        self._spans: dict[str, _Span] = {}
        self._size = 0
        self._failure: str | None = None
        self.cost_usd = sum(self._read().values())
        """What everything in it has cost together."""

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """The journal at `path`, made if it isn't there. Raises `LabelError` when it is in use, damaged or out of reach."""
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as exc:
            raise LabelError(f"{path}: can't be written: {exc.strerror}") from exc
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield cls(path, file)
        except BlockingIOError as exc:
            raise LabelError(f"{path}: another run is writing it") from exc
        finally:
            os.close(file)

    def get(self, key: str) -> Entry | None:
        """What was added last under the key."""
        if (span := self._spans.get(key)) is None:
            return None
        return msgspec.json.decode(os.pread(self._file, span.size, span.offset), type=_Line).entry

    def add(self, key: str, entry: Entry) -> None:
        """Raises `LabelError` when it can't be written: then nothing more may be paid for, and nothing more is added."""
        if self._failure is not None:
            raise LabelError(self._failure)
        line = msgspec.json.encode(_Line(key, entry)) + b"\n"
        try:
            if os.write(self._file, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as exc:
            self._failure = f"{self._path}: can't be written: {exc.strerror}"
            with suppress(OSError):  # then the half line is cut off when it is read again
                os.ftruncate(self._file, self._size)
            raise LabelError(self._failure) from exc
        self._note(_Line(key, entry), len(line))
        self.cost_usd += entry.cost_usd

    def _note(self, line: _Line, size: int) -> None:
        self._spans[line.key] = _Span(self._size, size)
        self._size += size

    def _read(self) -> dict[str, float]:
        """What each cost, of all whole lines; a last one without its end is cut off."""
        costs: dict[str, float] = {}
        with self._path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n") and line[: len(_BEGINNING)] == _BEGINNING[: len(line)]:
                    break
                try:
                    read = msgspec.json.decode(line, type=_Line)
                except (msgspec.DecodeError, UnicodeDecodeError) as exc:
                    raise LabelError(f"{self._path}:{number}: this is no journal, or it is damaged ({exc})") from exc
                self._note(read, len(line))
                costs[read.key] = read.entry.cost_usd
        os.ftruncate(self._file, self._size)
        return costs
