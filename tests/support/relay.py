"""A network that can fail: a relay between two ends of TCP connections.

async with relaying(lambda: address) as relay:
    relay.address                       # connect here instead
    relay.cut()                         # connections break
    relay.strand()                      # nothing comes through those that there are any more, and nobody is told
    relay.hold_answers()                # only what the target says is held back, until `resume()`
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from orchestrator.scheduler.remote.connection import Address


class Pipe:
    """One direction of one connection."""

    def __init__(self, relay: Relay, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.flows = asyncio.Event()
        self.flows.set()
        self.num_bytes = 0
        self._relay = relay
        self._reader = reader
        self._writer = writer

    def cut(self) -> None:
        self._writer.transport.abort()

    async def run(self) -> None:
        with suppress(OSError, RuntimeError):  # uvloop says RuntimeError
            while data := await self._reader.read(1 << 16):
                await asyncio.sleep(self._relay.delay_s)
                await self.flows.wait()
                self.num_bytes += len(data)
                self._writer.write(data)
        await self.flows.wait()  # that it is over isn't heard either
        self._writer.close()


class Relay:
    """target: where connections go from here, asked for each of them. delay_s: before each piece is passed on."""

    def __init__(self, target: Callable[[], Address]) -> None:
        self.address: Address
        self.delay_s = 0.0
        self.connections = 0
        self._target = target
        self._serving: set[asyncio.Task[None]] = set()
        self._asks: list[Pipe] = []
        self._answers: list[Pipe] = []

    @property
    def bytes_asked(self) -> int:
        """What the target has been told."""
        return sum(pipe.num_bytes for pipe in self._asks)

    def cut(self) -> None:
        for pipe in (*self._asks, *self._answers):
            pipe.cut()

    def strand(self) -> None:
        for pipe in (*self._asks, *self._answers):
            pipe.flows.clear()

    def hold_answers(self) -> None:
        for pipe in self._answers:
            pipe.flows.clear()

    def resume(self) -> None:
        for pipe in (*self._asks, *self._answers):
            pipe.flows.set()

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.create_task(self._serve(reader, writer)))

    async def close(self) -> None:
        self.resume()
        self.cut()
        await asyncio.gather(*self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there = await asyncio.open_connection(*self._target())
        except OSError:
            writer.transport.abort()
            return
        self.connections += 1
        self._asks.append(Pipe(self, reader, there))
        self._answers.append(Pipe(self, there_reader, writer))
        await asyncio.gather(self._asks[-1].run(), self._answers[-1].run())


@asynccontextmanager
async def relaying(target: Callable[[], Address]) -> AsyncIterator[Relay]:
    relay = Relay(target)
    listener = await asyncio.start_server(relay.serve, "127.0.0.1")
    relay.address = Address(*listener.sockets[0].getsockname()[:2])
    try:
        yield relay
    finally:
        listener.close()
        await relay.close()
        await listener.wait_closed()
