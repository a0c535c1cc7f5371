"""What goes over the connection between a gateway and the scheduler: msgpack frames, and errors that arrive as what they were.

    data = encode(Acquire(7, request, left_s=30.0))         # 4 bytes of length, and the message
    FROM_GATEWAY.decode(data[4:])                           # Acquire(number=7, ...)

A gateway says `Hello`, then `Held`, and then asks; each question has a number, which its answer repeats. Readings of a clock mean
nothing elsewhere: a deadline crosses as the seconds that are left. Fields may be added at a message's end, with a default; anything
else that changes is another `VERSION`, which both sides must speak.

Not here: the bytes' way (`connection.py`), and what messages mean (`server.py` and `client.py`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator import errors
from orchestrator.errors import SwitchyardError
from orchestrator.scheduler.base import ExpertStatus, Lease, LeaseOutcome, LeaseRequest, MemoryStatus, Position, Weighed

VERSION = 1
MAX_FRAME_BYTES = 1 << 24
MAX_HELLO_BYTES = 4096
LENGTH_BYTES = 4

Plain = str | int | float | bool | None


class Message(msgspec.Struct, array_like=True, tag=True):
    """One frame."""


class Ping(Message):
    """Says that its sender is there. Both sides send it, and nobody answers."""


# From a gateway


class Hello(Message):
    """The first frame. It is read before its sender is trusted; its fields are the same in every version."""

    version: int
    token: str
    client_id: str


class Held(Message):
    """The leases the gateway holds, whoever gave them: the second frame. What it doesn't name, it doesn't hold."""

    leases: tuple[Lease, ...]


class Acquire(Message):
    """Answered by `Granted` or `Failed`. left_s: until the request's deadline, whose own reading is the gateway's."""

    number: int
    request: LeaseRequest
    left_s: float


class Warm(Message):
    """Answered by `Done` or `Failed`."""

    number: int
    expert: str


class Unload(Message):
    """Answered by `Done` or `Failed`."""

    number: int
    expert: str


class Reload(Message):
    """The configuration has changed. Answered by `Done` or `Failed`."""

    number: int


class Cancel(Message):
    """Nobody waits for this question's answer any more. A lease that was granted before this arrives is given back by `Release`."""

    number: int


class Release(Message):
    lease_id: str
    outcome: LeaseOutcome


class Leave(Message):
    """The gateway is through, and holds nothing any more."""


# From the scheduler


class Refused(Message):
    """This gateway is not served; the connection ends here."""

    reason: str


class Granted(Message):
    number: int
    lease: Lease


class Done(Message):
    number: int


class Failure(msgspec.Struct, array_like=True):
    """An error. kinds: its class, and what that is derived from. fields: its attributes."""

    kinds: tuple[str, ...]
    message: str
    fields: dict[str, Plain]


class Failed(Message):
    number: int
    failure: Failure


class Snapshot(Message):
    """All experts as the scheduler sees them. The first one says that the gateway is welcome."""

    status: tuple[ExpertStatus, ...]
    memory: MemoryStatus
    weighed: Weighed


class Changes(Message):
    """What is otherwise than in the last snapshot, with the changes that came since; nothing is a sign of life.

    status: by its place there. memory: None where it is the same. waits_s, imposed_s: None for what is not there any more.
    """

    status: dict[int, ExpertStatus]
    memory: MemoryStatus | None
    waits_s: dict[str, float | None]
    imposed_s: dict[str, float | None]


class Positions(Message):
    """Where the gateway's own waiting requests stand, by their id."""

    positions: dict[str, Position]


Question = Acquire | Warm | Unload | Reload

HELLO = msgspec.msgpack.Decoder(Hello)
FROM_GATEWAY = msgspec.msgpack.Decoder(Held | Question | Cancel | Release | Leave | Ping)
FROM_SCHEDULER = msgspec.msgpack.Decoder(Refused | Granted | Done | Failed | Snapshot | Changes | Positions | Ping)

_encoder = msgspec.msgpack.Encoder()
_KNOWN = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, SwitchyardError)
}


def encode(message: Message) -> bytes:
    """One frame: its length as four bytes, the most significant first, and the message."""
    payload = _encoder.encode(message)
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


def pack_error(error: SwitchyardError) -> Failure:
    """One with attributes that are no plain values crosses as the class it is derived from."""
    fields: dict[str, Any] = {name: value for name, value in vars(error).items() if isinstance(value, Plain)}
    kinds = [kind.__name__ for kind in type(error).__mro__ if issubclass(kind, SwitchyardError)]
    return Failure(tuple(kinds if len(fields) == len(vars(error)) else kinds[1:]), error.message, fields)


def unpack_error(failure: Failure) -> SwitchyardError:
    """The same error again; one of a class that isn't known here, as the nearest that is."""
    kind = next((_KNOWN[name] for name in failure.kinds if name in _KNOWN), SwitchyardError)
    error = kind.__new__(kind, failure.message)
    vars(error).update(failure.fields)
    return error
