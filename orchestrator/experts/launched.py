"""How a server of ours learns what to serve: settings as JSON on standard input, host, port and token in the environment.

    launched = read(Settings)                     # in the server's main()
    launched.settings, launched.host, launched.port, launched.token

The other side is `python_server` in `orchestrator/experts/served.py`. Few imports: every server pays for them when it starts.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

HOST_VARIABLE = "SWITCHYARD_SERVER_HOST"
PORT_VARIABLE = "SWITCHYARD_SERVER_PORT"
TOKEN_VARIABLE = "SWITCHYARD_SERVER_TOKEN"

Settings = TypeVar("Settings")


@dataclass(frozen=True, slots=True)
class Launched(Generic[Settings]):
    """What a server was launched with."""

    settings: Settings
    host: str
    port: int
    token: str = field(repr=False)


def read(kind: type[Settings]) -> Launched[Settings]:
    """Reads standard input to its end."""
    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=kind)
    return Launched(settings, os.environ[HOST_VARIABLE], int(os.environ[PORT_VARIABLE]), os.environ[TOKEN_VARIABLE])
