"""The load generator counts what a server has really answered."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from evals.load import LoadResult, Target, closed_loop, open_loop, post
from evals.mock_upstream import MockUpstream

WHOLE, STREAM = post("/v1/chat/completions", b"{}"), post("/v1/chat/completions", b'{"stream": true}')


@asynccontextmanager
async def listening(protocol: Callable[[], asyncio.Protocol]) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


class Saying(asyncio.Protocol):
    """One answer in these pieces, each in a packet of its own, to every request."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for i, piece in enumerate(self._pieces):
            asyncio.get_running_loop().call_later(i / 50, self._transport.write, piece)


async def asked(protocol: Callable[[], asyncio.Protocol], request: bytes, marker: bytes, number: int) -> LoadResult:
    async with listening(protocol) as port:
        return await closed_loop(Target("127.0.0.1", port, [request], marker), connections=2, max_requests=number)


@pytest.mark.parametrize(("request_", "words"), [(WHOLE, 40), (STREAM, 3)])
async def test_every_word_of_every_answer_is_counted(request_: bytes, words: int):
    result = await asked(lambda: MockUpstream(chunks=5, interval_s=0.0, latency_s=0.0), request_, b"word ", 6)
    assert (len(result.latencies_s), result.events, result.errors) == (6, 6 * words, {})


async def test_the_first_event_is_timed_and_not_the_end():
    result = await asked(lambda: MockUpstream(chunks=20, interval_s=0.05, latency_s=0.0), STREAM, b"data: ", 2)
    assert len(result.first_events_s) == 2
    assert max(result.first_events_s) + 0.15 < min(result.latencies_s)


async def test_a_marker_in_two_pieces_is_one():
    pieces = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\ndata: 1 da",
        b"ta: 2 ",
        b"data: 3\r\n0\r\n\r\n",
    )
    result = await asked(lambda: Saying(*pieces), STREAM, b"data: ", 1)
    assert (result.events, len(result.first_events_s)) == (3, 1)


async def test_refusals_are_no_answers():
    refusal = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}"
    result = await asked(lambda: Saying(refusal), WHOLE, b"word ", 4)
    assert (result.latencies_s, result.events, result.errors) == ([], 0, {"503": 4})
    assert result.throughput == 0.0


async def test_open_loop_sends_as_many_as_were_due():
    async with listening(lambda: MockUpstream(chunks=5, interval_s=0.0, latency_s=0.0)) as port:
        result = await open_loop(Target("127.0.0.1", port, [WHOLE]), rate=200, duration_s=0.2)
    assert (len(result.latencies_s), result.errors) == (40, {})
