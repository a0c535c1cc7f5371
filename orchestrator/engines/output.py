"""The end of a process's output, and what of it may be shown: no token, no path, no address.

    tail = Tail(8192)
    tail.add(b"error: can't open /home/ann/models/a.gguf\n")
    scrub(tail.lines(), secrets=[token])          # "error: can't open a.gguf"

Not here: logging, and reading the pipe.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_ADDRESS = re.compile(r"(?:\w+://)?(?:127\.0\.0\.1|localhost|0\.0\.0\.0|\[::1?\])(?::\d+)?")
_FOLDERS = re.compile(r"""(?<![\w.])~?/(?:[^\s/'":;,()\[\]]+/)*(?=[\w.])""")
_SHORTEST_SECRET = 6


class Tail:
    """The last `capacity` bytes of what was added."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._bytes = bytearray()

    def add(self, data: bytes) -> None:
        self._bytes += data
        del self._bytes[: -self.capacity]

    def lines(self, count: int = 12) -> str:
        """The last lines that say something, without colours."""
        text = _ANSI.sub("", self._bytes.decode("utf-8", "replace"))
        return "\n".join([line for line in text.splitlines() if line.strip()][-count:])


def scrub(text: str, *, secrets: Iterable[str]) -> str:
    """The text with secrets replaced by `***`, absolute paths cut to their last part, and local addresses left out."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return _FOLDERS.sub("", _ADDRESS.sub("", text))
