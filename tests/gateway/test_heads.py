"""Headers, trailers and chunk extensions that never end are refused; a long body in many pieces is none of those."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.gateway.app import create_app
from orchestrator.gateway.heads import MAX_HEAD_BYTES
from tests.support.gateway import make_context, served

POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"


async def status_of(*pieces: bytes) -> bytes:
    context = make_context()
    async with served(create_app(context), context.lifecycle) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        for piece in pieces:
            writer.write(piece)
        async with asyncio.timeout(10):
            line = await reader.readline()
        writer.close()
    return line.split(b" ", 2)[1]


@pytest.mark.parametrize(
    "start",
    [b"GET /", POST, POST + b"x: ", CHUNKED + b"2;x=", CHUNKED + b"2\r\n{}\r\n0\r\nx: "],
    ids=["path", "name", "value", "extension", "trailer"],
)
async def test_a_head_that_never_ends(start):
    assert await status_of(start, *[b"a" * 65536] * (4 * MAX_HEAD_BYTES // 65536)) in {b"431", b"400"}


async def test_a_large_header_and_a_body_in_many_pieces():
    body = b'{"model": "%b"}' % (b"a" * 2 * MAX_HEAD_BYTES)
    head = POST + b"x: %b\r\ncontent-length: %d\r\n\r\n" % (b"a" * 60_000, len(body))
    pieces = [body[i : i + 1000] for i in range(0, len(body), 1000)]
    assert await status_of(head, *pieces) == b"400"
