"""Server-sent events: bytes as they arrive in, whole events out, and OpenAI's chunks relayed under another model name.

    framer = Framer()
    framer.feed(b"data: 1\\n\\ndata: ")        # [b"data: 1"]
    framer.feed(b"2\\r\\n\\r\\n")              # [b"data: 2"]

    relay = ChunkRelay("smollm2", Usage(), hide_usage=True, translate=...)
    relay.feed(b'data: {"model": "up", "choices": [...]}\\n\\n')     # the same event with "model": "smollm2"

What is inside a chunk is copied, never re-encoded. Not here: reading from a connection, and what follows a failure.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec

from orchestrator.errors import ExpertError
from orchestrator.experts.envelope import NULL, Envelope, decode, encode, is_error, label, read_usage
from orchestrator.types import Usage

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
"""Sent for an event without data: it says nothing, and shows that the upstream is alive."""
MAX_EVENT_BYTES = 16 * 2**20
CONTENT_FIELDS = (
    "content",
    "tool_calls",
    "function_call",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "thinking_blocks",
    "refusal",
    "audio",
    "images",
)


class _Finish(msgspec.Struct):
    index: int | None = 0
    finish_reason: Any = None


class _Choice(msgspec.Struct):
    delta: dict[str, Any] | None = None
    text: Any = None
    finish_reason: Any = None

    @property
    def has_content(self) -> bool:
        delta = self.delta or {}
        return bool(self.finish_reason or self.text or any(delta.get(name) for name in CONTENT_FIELDS))


_FINISHES = msgspec.json.Decoder(list[_Finish] | None)
_CHOICES = msgspec.json.Decoder(list[_Choice] | None)


class Framer:
    """Cuts a byte stream into events, by the rules of the HTML standard: LF, CR LF or CR end a line, a blank line an event."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._num_searched = 0
        self._after_cr = False
        self._at_start = True

    @property
    def num_pending_bytes(self) -> int:
        """How much of an unfinished event is held."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The events that `data` completes: their lines joined by LF, without the blank line."""
        if self._after_cr or b"\r" in data:
            data = self._with_lf_only(data)
        buffer = self._buffer
        buffer += data
        end = buffer.rfind(b"\n\n", max(self._num_searched - 1, 0))
        if end < 0:
            self._num_searched = len(buffer)
            return []
        block = bytes(buffer[:end])
        del buffer[: end + 2]
        self._num_searched = len(buffer)
        return self._split(block)

    def flush(self) -> list[bytes]:
        """What the stream ended in, for servers that leave out the last blank line."""
        block = bytes(self._buffer)
        self._buffer.clear()
        self._num_searched = 0
        return self._split(block)

    def _split(self, block: bytes) -> list[bytes]:
        if self._at_start:
            block = block.removeprefix(b"\xef\xbb\xbf")
            self._at_start = False
        return [event for part in block.split(b"\n\n") if (event := part.strip(b"\n"))]

    def _with_lf_only(self, data: bytes) -> bytes:
        """LF for every line end, also for a CR LF that two reads tore apart."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if data.endswith(b"\r"):
            self._after_cr = True
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def data_of(event: bytes) -> bytes:
    """The event's `data`; empty for a comment.

    Several data lines are joined by a space, not LF: in JSON either is whitespace, and the result must fit one line.
    """
    if event.startswith(b"data:") and b"\n" not in event:
        return event[5:].strip()
    return b" ".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))


class ChunkRelay:
    """One stream of chat or completion chunks on its way to the client, under the expert's name.

    hide_usage: the client did not ask for usage, so it is read and taken out. translate: makes an error of an error event.
    usage is filled in. After each `feed`: has_content (something worth sending was seen), finished (every choice has its
    finish_reason), done (`[DONE]` was seen), failure (the stream broke after what `feed` returned).
    """

    def __init__(
        self, expert: str, usage: Usage, *, hide_usage: bool, translate: Callable[[Envelope], ExpertError]
    ) -> None:
        self.has_content = False
        self.done = False
        self.failure: ExpertError | None = None
        self._expert = expert
        self._label = label(expert)
        self._usage = usage
        self._hide_usage = hide_usage
        self._translate = translate
        self._framer = Framer()
        self._begun: set[int | None] = set()
        self._ended: set[int | None] = set()

    @property
    def finished(self) -> bool:
        return bool(self._ended) and self._ended >= self._begun

    def feed(self, data: bytes) -> bytes:
        """The whole events that `data` completes, rewritten."""
        block = self._relay(self._framer.feed(data))
        if self._framer.num_pending_bytes > MAX_EVENT_BYTES and self.failure is None:
            message = f"{self._expert} sent an event of more than {MAX_EVENT_BYTES >> 20} MB"
            self.failure = ExpertError(self._expert, "malformed", message)
        return block

    def end(self) -> bytes:
        """The upstream closed the stream: the rest of it, and a `[DONE]` it forgot. Sets failure if it was cut off."""
        block = self._relay(self._framer.flush())
        if self.done:
            return block
        if self.failure is None and self.finished:
            self.done = True
            return block + DONE
        if self.failure is None or self.failure.kind == "malformed":
            message = f"{self._expert} stopped before the end of its answer"
            self.failure = ExpertError(self._expert, "truncated", message)
        return block

    async def blocks(self, read: Callable[[], Awaitable[bytes]]) -> AsyncGenerator[bytes, None]:
        """Everything to pass on, preceded by an empty block as soon as there is content. read: what came next, empty at the end.

        Whoever takes the empty block first knows that the answer has begun, and has started the generator, so that closing it
        runs its caller's `finally`. Raises the failure that the stream ended in, after what came before it.
        """
        held = b""
        while not self.has_content:
            held += await self._next(read)
        yield b""
        yield held
        while not self.done:
            if block := await self._next(read):
                yield block

    async def _next(self, read: Callable[[], Awaitable[bytes]]) -> bytes:
        if self.failure is not None:
            raise self.failure
        data = await read()
        return self.feed(data) if data else self.end()

    def _relay(self, events: list[bytes]) -> bytes:
        blocks = []
        for event in events:
            if self.done:
                break
            try:
                blocks.append(self._relay_one(event))
            except ExpertError as exc:
                self.failure = exc
                break
            except (ValueError, RecursionError):
                message = f"{self._expert} sent an event that is not a chunk"
                self.failure = ExpertError(self._expert, "malformed", message)
                break
        return b"".join(blocks)

    def _relay_one(self, event: bytes) -> bytes:
        data = data_of(event)
        if data in (b"", b"null"):  # llama.cpp begins a stream of several completions with a null
            return KEEP_ALIVE
        if data == b"[DONE]":
            if not self.has_content:
                raise ExpertError(self._expert, "truncated", f"{self._expert} ended its answer before it began")
            self.done = True
            return DONE
        chunk = decode(data)
        if is_error(chunk):
            raise self._translate(chunk)
        has_choices = self._look_at(chunk.get("choices", NULL))
        if "usage" in chunk and self._take_usage(chunk) and not has_choices:
            return b""
        chunk["model"] = self._label
        return b"data: " + encode(chunk) + b"\n\n"

    def _look_at(self, choices: msgspec.Raw) -> bool:
        """Note content and finish reasons; whether there is any choice."""
        if not self.has_content:
            self.has_content = any(choice.has_content for choice in _CHOICES.decode(choices) or ())
        finishes = _FINISHES.decode(choices) or ()
        for choice in finishes:
            (self._ended if choice.finish_reason else self._begun).add(choice.index)
        return bool(finishes)

    def _take_usage(self, chunk: Envelope) -> bool:
        """Note the usage; whether it is to be kept from the client."""
        usage = chunk["usage"]
        if usage != NULL:
            read_usage(usage, self._usage)
        elif self._hide_usage:
            del chunk["usage"]
        return self._hide_usage and usage != NULL
