"""A model server to launch, in the standard library: says who it is and what it was asked, and writes down that it was.

experts = [chat_expert("a", tmp_path), chat_expert("b", tmp_path, memory_gb=1.0)]
asked(tmp_path)                               # [("a", "Hello"), ...]: every request that reached a server, in order

It is a child process of the gateway, so that loads are real. `python chat_server.py PORT NAME LOG` serves until it is ended.
Asked to "die", it does. Named "bad", it fails whatever it is asked.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def chat_expert(name: str, folder: Path, *, memory_gb: float = 1.0, **fields: Any) -> dict[str, Any]:
    command = ["python", __file__, "{port}", name, str(folder / "asked.log")]
    return {
        "name": name,
        "backend": "command",
        "command": command,
        "health": "/",
        "residency": {"memory_gb": memory_gb},
        **fields,
    }


def asked(folder: Path) -> list[tuple[str, str]]:
    """Who was asked what."""
    log = folder / "asked.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [(name, text) for name, text in map(json.loads, lines)]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.reply({"status": "ok"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name, log = sys.argv[2:4]
        text = str(body["messages"][-1]["content"])
        with Path(log).open("a") as file:
            file.write(json.dumps([name, text]) + "\n")
        if text == "die":
            os._exit(1)
        if name == "bad":
            return self.reply({"error": {"message": "I can't", "type": "server_error"}}, status=500)
        message = {"role": "assistant", "content": f"{name} heard: {text[:60]}"}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
        return self.reply(
            {"id": "c", "object": "chat.completion", "created": 1, "model": name, "choices": choices, "usage": usage}
        )

    def reply(self, body: Any, status: int = 200) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
