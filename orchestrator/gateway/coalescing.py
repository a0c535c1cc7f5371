"""Fewer, larger writes to clients: what one turn of the event loop writes to a connection leaves in one packet.

    uvicorn.Config(app, http=CoalescingProtocol)

uvicorn writes a response's headers and its body by themselves, and uvloop sends each at once: two system calls here and two
wake-ups at the client for every answer. Not here: anything of HTTP.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from orchestrator.gateway.heads import BoundedHeads


class CoalescingProtocol(BoundedHeads):
    """uvicorn's protocol, on a transport that gathers writes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = cast(asyncio.Transport, _Gathering(transport, self.loop))


class _Gathering:
    """A transport whose writes go out at the end of the loop's turn; everything else is the transport's own."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._pieces:
            pieces, self._pieces = self._pieces, []
            self._transport.write(b"".join(pieces))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
