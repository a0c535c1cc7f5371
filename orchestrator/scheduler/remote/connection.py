"""One TCP connection that carries frames: what is sent in one turn of the event loop goes out in one write.

    connection = Connection(receive=handle, opened=greet, lost=forget)      # a protocol for `create_connection` or `create_server`
    connection.send(encode(Ping()))
    connection.fail("it sent nonsense")                             # ends it; the reason is logged

Each side pings every `ping_s`. A peer that is not heard for three of them is gone, though its network may never say so; one that
doesn't read what it is sent is dropped before it costs memory. A frame that is too long or can't be decoded ends the connection.

Not here: what the frames say (`wire.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple, cast

import msgspec

from orchestrator.scheduler.remote.wire import LENGTH_BYTES, MAX_FRAME_BYTES, Ping, encode

PING_S = 1.0
SILENT_PINGS = 3
MAX_UNSENT_BYTES = 1 << 25

_PING = encode(Ping())

logger = logging.getLogger(__name__)


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Connection(asyncio.Protocol):
    """One side of a connection.

    receive: called with each message's bytes; a `DecodeError` of msgspec's that it raises ends the connection. opened, lost: called
    once each, if it was opened at all. max_frame_bytes: what is accepted, and may be changed at any time.
    """

    def __init__(
        self,
        *,
        receive: Callable[[Connection, bytes | bytearray], None],
        opened: Callable[[Connection], None],
        lost: Callable[[Connection], None],
        ping_s: float = PING_S,
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> None:
        self.max_frame_bytes = max_frame_bytes
        self.peer = "somebody"
        self.is_open = False
        self._receive = receive
        self._opened = opened
        self._lost = lost
        self._ping_s = ping_s
        self._silent_pings = 0
        self._received = bytearray()
        self._unsent: list[bytes] = []
        self._transport: asyncio.Transport
        self._beat: asyncio.TimerHandle | None = None

    @property
    def unsent_bytes(self) -> int:
        """What the other side has not taken yet of earlier turns of the loop."""
        return self._transport.get_write_buffer_size()

    def send(self, frame: bytes) -> None:
        """In the order of calls, with all that is sent in this turn of the loop. Nothing happens once the connection is over."""
        if not self.is_open:
            return
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(frame)

    def fail(self, reason: str) -> None:
        """End it at once."""
        if self.is_open:
            logger.warning("the connection with %s ends: %s", self.peer, reason)
            self.is_open = False
            self._transport.abort()

    def close(self) -> None:
        """End it when all that was sent has gone out, or at the next beat."""
        self._flush()
        self.is_open = False
        self._transport.close()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's are no instances of it
        self._transport = transport
        if (peer := transport.get_extra_info("peername")) is not None:  # it may be gone already
            self.peer = str(Address(*peer[:2]))
        transport.set_write_buffer_limits(high=MAX_UNSENT_BYTES)
        self.is_open = True
        self._opened(self)
        self._ping()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._beat is not None:
            self._beat.cancel()
        self._lost(self)

    def pause_writing(self) -> None:
        self.fail("it doesn't read what it is sent")

    def data_received(self, data: bytes) -> None:
        self._silent_pings = 0
        received = self._received
        received += data
        start = 0
        while self.is_open and len(received) >= start + LENGTH_BYTES:
            begin = start + LENGTH_BYTES
            length = int.from_bytes(received[start:begin], "big")
            if length > self.max_frame_bytes:
                return self.fail(f"it sent a frame of {length} bytes")
            if len(received) < begin + length:
                break
            start = begin + length
            try:
                self._receive(self, received[begin:start])
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                return self.fail(f"it sent what can't be read: {error}")
        del received[:start]
        return None

    def _flush(self) -> None:
        if self.is_open and self._unsent:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def _ping(self) -> None:
        """Beats are counted, not seconds: a loop that was held up finds what has arrived before its next beat."""
        if self._silent_pings >= SILENT_PINGS:
            self.fail("it is silent")
        if not self.is_open:
            return self._transport.abort()
        self._silent_pings += 1
        self.send(_PING)
        self._beat = asyncio.get_running_loop().call_later(self._ping_s, self._ping)
        return None
