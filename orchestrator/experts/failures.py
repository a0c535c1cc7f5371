"""What went wrong at an upstream, as `ExpertError`: the one translator of HTTP statuses, error bodies and aiohttp's exceptions.

    failure = from_response("gpt-large", 429, {"Retry-After": "7"}, b'{"error": {"message": "slow down"}}', secrets=())
    failure.kind, failure.retry_after_s           # ("rate_limited", 7.0)

A 400, 413 or 422 is the client's to mend. A 404 is not: path and model are ours, so it counts against the expert as
`server_error`, like a redirect (which is never followed: it would carry our key elsewhere). The upstream's words are kept, scrubbed
of addresses, paths and keys. Not here: what follows a failure.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import msgspec

from orchestrator.errors import ExpertError, ExpertRejected, FailureKind
from orchestrator.experts.envelope import Envelope
from orchestrator.experts.keepalive import UNREACHABLE

MAX_MESSAGE_CHARS = 500
SHORTEST_SECRET = 8
"""Shorter header values are words (`Connection: close`), which an upstream may say as well."""
REJECTED = frozenset({400, 413, 422})
LASTING = frozenset({404, 409})
"""The same expert would say so again, and others may not."""
TOO_LONG_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error"})

_KINDS: dict[int, tuple[FailureKind, str]] = {
    401: ("unauthorized", "refused our key"),
    402: ("unauthorized", "wants to be paid first"),
    403: ("unauthorized", "refused our key"),
    404: ("server_error", "knows no such path or model"),
    408: ("timeout", "gave up waiting"),
    429: ("rate_limited", "asks us to slow down"),
    503: ("overloaded", "is overloaded"),
    504: ("timeout", "gave up waiting"),
    529: ("overloaded", "is overloaded"),
}
_TOO_LONG = re.compile(
    r"maximum context length|available context size|context[ _](length|window|size)[^.]{0,40}exceed"
    r"|exceed[^.]{0,60}context[ _](length|window|size)|(prompt|input) is too long",
    re.IGNORECASE,
)
_BAD_KEY = re.compile(r"api[ _-]?key (is )?(not valid|invalid)|(invalid|incorrect) api[ _-]?key", re.IGNORECASE)
_OCTET = r"(?:25[0-5]|2[0-4]\d|[01]?\d?\d)"
_PRIVATE = (
    (re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>)]+", re.IGNORECASE), "[address]"),
    (
        re.compile(
            rf"\b(?:{_OCTET}\.){{3}}{_OCTET}(?!\d)(?::\d+)?|\blocalhost(?::\d+)?|\[[0-9a-f:]*::[0-9a-f:]*\](?::\d+)?"
        ),
        "[address]",
    ),
    (re.compile(r"\borg-\w+"), "[organization]"),
    (re.compile(r"\bBearer\s+\S+", re.IGNORECASE), "[key]"),
    (re.compile(r"\b(?:sk|pk|rk|gsk|hf|xai|ghp)[-_][\w*-]{8,}|\bAIza[\w-]{20,}"), "[key]"),
    (re.compile(r"(?<![\w/])(?:~|\.{1,2})?/(?:[\w.@+-]+/)+[\w.@+-]*"), "[path]"),
    (re.compile(r"\b[A-Za-z]:\\[^\s'\"]+"), "[path]"),
)


@dataclass(frozen=True, slots=True)
class Complaint:
    """What an upstream says went wrong, in whichever of the usual shapes it came."""

    message: str = ""
    type: str = ""
    code: str = ""
    param: str | None = None

    @property
    def too_long(self) -> bool:
        return bool(TOO_LONG_CODES & {self.type, self.code})


def from_response(
    expert: str, status: int, headers: Mapping[str, str], body: bytes, *, secrets: Collection[str]
) -> ExpertError:
    """An answer whose status is not 2xx. secrets: texts that must never be shown (keys, the host's name)."""
    return from_complaint(expert, status, _read(body), retry_after=retry_after_s(headers), secrets=secrets)


def from_envelope(expert: str, envelope: Envelope, *, secrets: Collection[str]) -> ExpertError:
    """An error inside a 200: a body, or an event of a stream. Its code may be a status."""
    complaint = _complaint(msgspec.json.decode(msgspec.json.encode(envelope)))
    status = int(complaint.code) if re.fullmatch(r"[45]\d\d", complaint.code) else 200
    return from_complaint(expert, 400 if complaint.too_long else status, complaint, retry_after=None, secrets=secrets)


def from_complaint(
    expert: str, status: int, complaint: Complaint, *, retry_after: float | None, secrets: Collection[str]
) -> ExpertError:
    """A status and what was said with it."""
    if complaint.code == "invalid_api_key" or (status == 400 and _BAD_KEY.search(complaint.message)):
        status = 401
    if status in REJECTED:
        return _rejected(expert, status, complaint, secrets)
    kind, words = _KINDS.get(status, ("server_error", f"answered with an error (status {status})"))
    said = "" if kind == "unauthorized" else scrub(complaint.message, secrets)
    message = f"{expert} {words}" + (f": {said}" if said else "")
    return ExpertError(expert, kind, message, retry_after_s=retry_after, lasting=status in LASTING)


def from_exception(expert: str, exc: BaseException) -> ExpertError:
    """What aiohttp or a timer raised. The texts of its exceptions hold addresses, so none is used."""
    if isinstance(exc, aiohttp.ConnectionTimeoutError) or _errno(exc) in UNREACHABLE:
        return ExpertError(expert, "unreachable", f"{expert} can't be reached")
    if isinstance(exc, aiohttp.ClientConnectorError | aiohttp.ClientSSLError | aiohttp.InvalidURL):
        return ExpertError(expert, "refused", f"could not connect to {expert}")
    if isinstance(exc, TimeoutError):
        return ExpertError(expert, "timeout", f"{expert} did not answer in time")
    if isinstance(exc, aiohttp.ClientResponseError):
        return ExpertError(expert, "malformed", f"{expert} does not speak HTTP")
    return ExpertError(expert, "reset", f"{expert} broke the connection")


def _errno(exc: BaseException | None) -> int | None:
    """The system's own error number, wherever it was raised from."""
    while exc is not None:
        if isinstance(exc, OSError) and exc.errno is not None:
            return exc.errno
        exc = exc.__cause__
    return None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: OpenAI's `retry-after-ms`, or `Retry-After` as seconds or as a date."""
    milliseconds = _seconds(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("Retry-After", "")
    seconds = _seconds(value)
    if seconds is not None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def scrub(text: str, secrets: Collection[str] = ()) -> str:
    """The text without addresses, paths and keys, on one line, and not too long."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[hidden]")
    for pattern, replacement in _PRIVATE:
        text = pattern.sub(replacement, text)
    text = " ".join(text.split())
    return text if len(text) <= MAX_MESSAGE_CHARS else text[: MAX_MESSAGE_CHARS - 1] + "…"


def _rejected(expert: str, status: int, complaint: Complaint, secrets: Collection[str]) -> ExpertRejected:
    too_long = complaint.too_long or _TOO_LONG.search(complaint.message) is not None
    message = scrub(complaint.message, secrets) or f"{expert} rejected the request with status {status}"
    code = "context_length_exceeded" if too_long else scrub(complaint.code, secrets) or None
    return ExpertRejected(expert, message, status=status, code=code, param=complaint.param)


def _read(body: bytes) -> Complaint:
    try:
        return _complaint(msgspec.json.decode(body))
    except (ValueError, RecursionError):
        return Complaint()


def _complaint(body: Any) -> Complaint:
    """Shapes seen: `{"error": {...}}` (Gemini: in a list), `{"error": "text"}`, `{"message": ...}` and `{"detail": ...}`."""
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return Complaint()
    error = body.get("error") or body
    if not isinstance(error, dict):
        return Complaint(message=str(error)[: 8 * MAX_MESSAGE_CHARS])
    message = error.get("message") or error.get("detail") or ""
    if not isinstance(message, str):
        message = msgspec.json.encode(message).decode()
    param = error.get("param")
    return Complaint(
        message[: 8 * MAX_MESSAGE_CHARS],
        _word(error.get("type")),
        _word(error.get("code")),
        param if isinstance(param, str) else None,
    )


def _word(value: Any) -> str:
    return str(value) if isinstance(value, str | int) else ""


def _seconds(value: str) -> float | None:
    try:
        seconds = float(value)
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
