"""HTTP in a gateway that Ray Serve runs: what uvicorn is given there, because Serve does for every request what ours does itself.

    uvicorn.config.HTTP_PROTOCOLS["auto"] = "orchestrator.engines.ray.protocol:ReplicaProtocol"

Serve would watch for clients that leave, by two tasks and a queue, and draw random numbers to name the request. Not here: the
gathering of writes (`orchestrator/gateway/coalescing.py`).
"""

from __future__ import annotations

import itertools
import secrets

from orchestrator.gateway.coalescing import CoalescingProtocol

_PREFIX = secrets.token_hex(8).encode()
_NUMBERS = itertools.count(1)


class ReplicaProtocol(CoalescingProtocol):
    """Tells Serve by headers of its own that the client is watched, and what the request is called; a client's come after them."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.headers += (
            (b"x-request-disconnect-disabled", b"?1"),
            (b"x-request-id", b"%s-%d" % (_PREFIX, next(_NUMBERS))),
        )
