"""A bound on request heads: what a client sends without beginning or ending a request, nor any piece of a body, is limited.

    uvicorn.Config(app, http=BoundedHeads)

httptools, unlike h11, gathers headers, trailers and chunk extensions for as long as they come, so that one client that
never ends its header could take all memory before any key is checked. Not here: bodies, whose bound is `gateway.max_body_mb`.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 256 * 1024
_REFUSAL = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedHeads(HttpToolsProtocol):
    """uvicorn's protocol, which refuses what goes beyond by 431 and closes the connection."""

    _head_bytes = 0
    _progressed = False

    def data_received(self, data: bytes) -> None:
        self._progressed = False
        super().data_received(data)
        if self._progressed:
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_REFUSAL)
            self.transport.close()

    def on_headers_complete(self) -> None:
        self._progressed = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._progressed = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._progressed = True
        super().on_message_complete()
