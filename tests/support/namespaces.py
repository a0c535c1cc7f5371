"""Machines of a network that can be cut: network namespaces of this one, on a bridge. This process is at its first address.

with network(2) as (one, other):
    listener = one.listener()                   # a socket that listens there, for a server in this process
    subprocess.run([*other.inside, "ip", "address"])
    one.cut(HOME)                               # packets to this process vanish, and nobody is told
    one.heal(HOME)

Skips a test that may not have them.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

CLONE_NEWNET = 0x40000000
_NUMBER = os.getpid()
_NAME = f"sy{_NUMBER}"
_SUBNET = f"10.{64 + _NUMBER % 128}.{_NUMBER // 128 % 256}"
HOME = f"{_SUBNET}.1"


@dataclass(frozen=True)
class Machine:
    """name: of its namespace."""

    name: str
    address: str

    @property
    def inside(self) -> tuple[str, ...]:
        """What a command begins with that runs there."""
        return ("ip", "netns", "exec", self.name)

    def listener(self, port: int = 0) -> socket.socket:
        with ThreadPoolExecutor(1) as elsewhere:  # whose one thread moves there
            return elsewhere.submit(self._listener, port).result()

    def cut(self, *addresses: str) -> None:
        """What goes from here to there vanishes, which is as good as both ways."""
        for address in addresses:
            _ip("-n", self.name, "route", "add", "blackhole", f"{address}/32")

    def heal(self, *addresses: str) -> None:
        for address in addresses:
            _ip("-n", self.name, "route", "del", "blackhole", f"{address}/32")

    def _listener(self, port: int) -> socket.socket:
        with Path("/run/netns", self.name).open() as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        return socket.create_server((self.address, port))


@contextmanager
def network(size: int) -> Iterator[tuple[Machine, ...]]:
    """Machines that reach one another and this process."""
    if shutil.which("ip") is None:
        pytest.skip("there is no `ip` to make network namespaces with")
    with ExitStack() as stack:
        try:
            _ip("link", "add", _NAME, "type", "bridge")
        except subprocess.CalledProcessError as refused:
            pytest.skip(f"network namespaces can't be made here: {refused.stderr.strip()}")
        stack.callback(_ip, "link", "del", _NAME)
        _ip("address", "add", f"{HOME}/24", "dev", _NAME)
        _ip("link", "set", _NAME, "up")
        yield tuple(_machine(number, stack) for number in range(2, 2 + size))


def _machine(number: int, stack: ExitStack) -> Machine:
    machine = Machine(f"{_NAME}-{number}", f"{_SUBNET}.{number}")
    there, port = ("-n", machine.name), f"{_NAME}v{number}"
    _ip("netns", "add", machine.name)
    stack.callback(_ip, "netns", "del", machine.name)
    _ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", machine.name)
    stack.callback(_ip, "link", "del", port)  # with its namespace it would go some time later
    _ip("link", "set", port, "master", _NAME, "up")
    _ip(*there, "address", "add", f"{machine.address}/24", "dev", "eth0")
    for device in ("lo", "eth0"):
        _ip(*there, "link", "set", device, "up")
    return machine


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
