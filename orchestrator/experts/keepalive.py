"""Sockets that notice when their peer can't be reached any more, though nobody says so: a machine, a cable or a route is gone.

    http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=open_socket))

Without this, an answer would be awaited until the request's own time runs out. It is the peer's kernel that is asked, so an expert
that thinks for long is left alone, however busy it is. Not here: what follows (`failures.py`).
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
from asyncio import BaseTransport
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from aiohttp import AddrInfoType

SMALL_BYTES = 32_768
"""What the kernel of a peer that reads nothing still takes."""


UNREACHABLE = frozenset({errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH})
"""What a connection breaks with then."""


class KeepAlive(NamedTuple):
    """Seconds of silence until the peer is asked, between two questions, and until it is given up."""

    idle_s: int
    interval_s: int
    limit_s: int


NEAR = KeepAlive(idle_s=2, interval_s=1, limit_s=5)
FAR = KeepAlive(idle_s=15, interval_s=5, limit_s=30)
"""At public addresses, where some seconds without a packet are no reason to give up an answer that has begun."""


def open_socket(address: AddrInfoType) -> socket.socket:
    """A TCP socket for an entry of `socket.getaddrinfo`. What it notices, it notices on Linux alone."""
    family, kind, protocol, _, (host, *_) = address
    opened = socket.socket(family, kind, protocol)
    if sys.platform == "linux":
        keep_alive = FAR if ipaddress.ip_address(str(host)).is_global else NEAR
        probes = (keep_alive.limit_s - keep_alive.idle_s) // keep_alive.interval_s
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, keep_alive.idle_s)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, keep_alive.interval_s)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, probes)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * keep_alive.limit_s)
    return opened


@contextmanager
def patience(transport: BaseTransport) -> Iterator[None]:
    """For as long as much is sent: a peer may take its time to read it.

    To the kernel, one that says again and again that it has no room is as silent as one that is gone.
    """
    if sys.platform != "linux":
        yield
        return
    sender = transport.get_extra_info("socket")
    limit_ms = sender.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0)
    try:
        yield
    finally:
        with suppress(OSError, ValueError):  # it is closed; uvloop says ValueError
            sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limit_ms)
