"""A server with vLLM's sleep endpoints and command line, that notes every request it gets. Started as a process of its own.

    python sleepy_vllm.py serve MODEL --port 8000 --enable-sleep-mode      # see tests/support/sleepers.py

Its weights are real memory. Like vLLM's, they come back as noise when they are woken without being read again, and it refuses what
comes in an impossible order. Environment: WEIGHTS_MB, NOTES (the file of notes), and FAULT: `wakes_wrong`, `dies_waking`,
`stays_awake`, `refuses_sleep`, `starts_mute` or `says_more` (than vLLM does, whenever it answers).
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

ANSWER = " 13 14 15"
NOISE = "!!!!!!"


class Model:
    """weights: None while their memory is given back. good: whether they are what was read from disk."""

    def __init__(self, weights_mb: int, fault: str) -> None:
        self._size = weights_mb << 20
        self._fault = fault
        self.level = 0
        self.weights: bytearray | None = bytearray(os.urandom(1) * self._size)
        self.good = True
        self.kv_cache = True
        self.times_awake = 0

    @property
    def sleeping(self) -> bool:
        return self._fault != "stays_awake" and not (self.weights is not None and self.kv_cache)

    def sleep(self, level: int) -> int:
        if self._fault == "refuses_sleep":
            return 500
        self.level = level
        self.weights, self.kv_cache = None, False
        return 200

    def wake_up(self, tags: list[str]) -> int:
        if self._fault == "dies_waking":
            os._exit(9)
        if "weights" in tags or not tags:
            self.weights = bytearray(os.urandom(1) * self._size)
            self.good = self.level == 1 and self._fault != "wakes_wrong"
        if "kv_cache" in tags or not tags:
            self.kv_cache = True
        return 200

    def reload_weights(self) -> int:
        if self.weights is None or self.kv_cache:  # there is no memory for both copies
            return 500
        self.good = self._fault != "wakes_wrong"
        return 200

    def complete(self) -> str | None:
        if self._fault == "starts_mute":
            return ""
        if self.weights is None or not self.kv_cache:
            return None
        return ANSWER if self.good else NOISE


def serve(host: str, port: int) -> None:
    model = Model(int(os.environ.get("WEIGHTS_MB", "64")), os.environ.get("FAULT", ""))
    notes = Path(os.environ["NOTES"])
    token = f"Bearer {os.environ['VLLM_API_KEY']}"

    def more() -> dict[str, str]:
        return {"id": os.urandom(8).hex()} if os.environ.get("FAULT") == "says_more" else {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.reply(200, {"is_sleeping": model.sleeping, **more()} if self.path == "/is_sleeping" else {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            with notes.open("a") as file:
                file.write(self.path + (f" {body['method']}" if "method" in body else "") + "\n")
            url = urlsplit(self.path)
            match url.path:
                case "/sleep":
                    self.reply(model.sleep(int(parse_qs(url.query)["level"][0])))
                case "/wake_up":
                    self.reply(model.wake_up(parse_qs(url.query).get("tags", [])))
                case "/collective_rpc" if body["method"] == "reload_weights":
                    self.reply(model.reload_weights())
                case "/reset_prefix_cache":
                    self.reply(200)
                case "/v1/completions" if self.headers["Authorization"] == token:
                    said = model.complete()
                    self.reply(503 if said is None else 200, {"choices": [{"text": said}], **more()})
                case _:
                    self.reply(404)

        def reply(self, status: int, body: object = None) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    ThreadingHTTPServer((host, port), Handler).serve_forever()


if __name__ == "__main__":
    if os.environ.get("VLLM_SERVER_DEV_MODE") != "1" or "--enable-sleep-mode" not in sys.argv:
        sys.exit("without its development mode and --enable-sleep-mode, vLLM has none of these endpoints")
    serve(sys.argv[sys.argv.index("--host") + 1], int(sys.argv[sys.argv.index("--port") + 1]))
