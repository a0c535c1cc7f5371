"""HTTP between an engine and one of its servers, beside what clients ask: health, first requests, sleep.

    control = Control(http, server.endpoint)
    (await control.ask("/health")).status         # 200, or None when nothing answers

Paths count from the server's root, not from `/v1`. Not here: what an answer means (`local.py`, `sleeping.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from orchestrator.types import Endpoint


@dataclass(frozen=True, slots=True)
class Reply:
    """status: None when nothing answered."""

    status: int | None
    body: bytes = b""

    def __str__(self) -> str:
        return "nothing" if self.status is None else str(self.status)

    @property
    def ok(self) -> bool:
        return self.status == 200


class Control:
    """Asks one server, under its token. Raises nothing."""

    def __init__(self, http: aiohttp.ClientSession, endpoint: Endpoint) -> None:
        self._http = http
        self._root = endpoint.base_url.removesuffix("/v1")
        self._headers = {"Authorization": f"Bearer {endpoint.token}"}

    async def ask(self, path: str, body: Mapping[str, Any] | None = None, *, timeout_s: float | None = None) -> Reply:
        """GET, or POST when there is a body. timeout_s: nothing has answered when no whole answer is here by then."""
        method, url = "GET" if body is None else "POST", self._root + path
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._http.request(method, url, json=body, headers=self._headers, timeout=timeout) as response:
                return Reply(response.status, await response.read())
        except (aiohttp.ClientError, TimeoutError):
            return Reply(None)
