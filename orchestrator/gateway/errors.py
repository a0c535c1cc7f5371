"""The one place where exceptions become HTTP: status, OpenAI's error fields, `Retry-After`.

    failure = translate(RateLimited("every queue is full", retry_after_s=2.4))
    failure.status, failure.body()                # 429, {"error": {"message": ..., "type": ..., "param": null, "code": ...}}

An exception that nobody raised on purpose is a fault of ours: its traceback goes to the log, the client is told nothing
of it, and gets 503 `internal_error` (the request may well succeed elsewhere or later), never a 500.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from typing import Any

from starlette.exceptions import HTTPException

from orchestrator.errors import (
    ExpertError,
    ExpertRejected,
    NoCapacity,
    NotFound,
    RateLimited,
    RequestError,
    SwitchyardError,
    Unauthorized,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as clients see it. headers: what HTTP wants to be said besides (`Retry-After`, `Allow`)."""

    status: int
    message: str
    type: str
    code: str | None = None
    param: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())

    def body(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


def translate(exc: Exception) -> Failure:
    """Every exception has a failure; unknown ones are logged here."""
    if isinstance(exc, HTTPException):
        return _unrouted(exc)
    if not isinstance(exc, SwitchyardError):
        log.error("a fault of the gateway's own", exc_info=exc)
        return Failure(503, "The gateway failed on this request.", "api_error", "internal_error")
    return _deliberate(exc)


def _unrouted(exc: HTTPException) -> Failure:
    """Starlette's router found no route, or none for the method."""
    allow = (exc.headers or {}).get("Allow")
    if allow is None:
        return Failure(exc.status_code, "There is nothing at this path.", RequestError.type, NotFound.code)
    message = f"This path only takes {allow}."
    headers = ((b"allow", allow.encode()),)
    return Failure(exc.status_code, message, RequestError.type, "method_not_allowed", headers=headers)


def _deliberate(exc: SwitchyardError) -> Failure:
    if isinstance(exc, ExpertRejected):
        return Failure(exc.status, exc.message, RequestError.type, exc.code, exc.param)
    return Failure(
        status=503 if exc.status == SwitchyardError.status else exc.status,
        message=exc.message,
        type=exc.type,
        code=exc.kind if isinstance(exc, ExpertError) else exc.code,
        param=exc.param if isinstance(exc, RequestError) else None,
        headers=_headers(exc),
    )


def _headers(exc: SwitchyardError) -> tuple[tuple[bytes, bytes], ...]:
    if isinstance(exc, Unauthorized):
        return ((b"www-authenticate", b"Bearer"),)
    if isinstance(exc, RateLimited | NoCapacity | ExpertError) and exc.retry_after_s is not None:
        return ((b"retry-after", str(max(1, math.ceil(exc.retry_after_s))).encode()),)
    return ()
