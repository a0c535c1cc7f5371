"""A server of chats and completions that fails as it is told to, and notes what happens. A process of its own, for `faulty.py`.

    python faulty_server.py FOLDER PORT HOST

FOLDER/fault, read when it starts, at a health check, and at a request before that is noted, is one of:

    never_ready     its health check never says so          dies_answering  at a request, before it answers
    dies_loading    before it listens                       dies_streaming  after the first piece of an answer
    loads_slowly    listens once FOLDER/go is there         hangs           after the first piece; goes on once FOLDER/go is there
    takes N         N MB of memory more than it needs       hangs TEXT      the same, when it is asked this

FOLDER/launches gets its process id, FOLDER/asked what it is asked, before it answers; a line each.
"""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(sys.argv[1])


def fault() -> str:
    file = FOLDER / "fault"
    return file.read_text() if file.exists() else ""


def note(file: str, line: str) -> None:
    with (FOLDER / file).open("a") as opened:
        opened.write(line + "\n")


def until_told() -> None:
    while not (FOLDER / "go").exists():
        time.sleep(0.01)


def hang_if_told(told: str, text: str) -> None:
    if told in {"hangs", f"hangs {text}"}:
        until_told()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.reply(503 if fault() == "never_ready" else 200, "application/json", b"{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        told = fault()
        note("asked", text)
        if told == "dies_answering":
            os._exit(9)
        if body.get("stream"):
            self.stream(told, text)
            return
        hang_if_told(told, text)
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "text": text, "finish_reason": "stop"}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        self.reply(200, "application/json", json.dumps(answer).encode())

    def stream(self, told: str, text: str) -> None:
        first, rest = text[:1], text[1:]
        self.reply(200, "text/event-stream", self.event({"role": "assistant", "content": first}))
        if told == "dies_streaming":
            os._exit(9)
        hang_if_told(told, text)
        self.wfile.write(self.event({"content": rest}) + self.event({}, "stop") + b"data: [DONE]\n\n")

    def event(self, delta: dict[str, str], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        return f"data: {json.dumps(chunk)}\n\n".encode()

    def reply(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


if __name__ == "__main__":
    note("launches", str(os.getpid()))
    told = fault()
    if told == "dies_loading":
        sys.exit("the weights are damaged")
    taken = bytearray(b"x") * ((int(told.removeprefix("takes ")) << 20) if told.startswith("takes ") else 0)
    if told == "loads_slowly":
        until_told()
    ThreadingHTTPServer((sys.argv[3], int(sys.argv[2])), Handler).serve_forever()
