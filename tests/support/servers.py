"""Small servers to launch: what a test needs of a model server, in a few lines of the standard library."""

from pathlib import Path

from orchestrator.experts.base import ServerCommand
from tests.support.launching import Fixed

_WITH_HANDLER = """
import json, os, signal, subprocess, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        authorized = self.headers["Authorization"] == "Bearer " + os.environ.get("TOKEN", "")
        self.reply(200 if authorized else 401, json.dumps({"argv": sys.argv, "env": dict(os.environ), "cwd": os.getcwd()}))
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.reply(500, "no")
    def reply(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *args):
        pass
"""


def server(before: str = "", *argv: str, **keys: object) -> Fixed:
    """A server that tells how it was started, to whom shows the token. before: Python to run first."""
    script = f"{_WITH_HANDLER}\n{before}\nHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()"
    return command(script, "{host}", "{port}", *argv, **{"env": {"TOKEN": "{token}"}, **keys})


def dies_when(there: Path, saying: str = "") -> str:
    """Python for `server`: as soon as there is such a file it says that, and ends as by a bug in C."""
    return f"""
import threading
def die():
    while not os.path.exists({str(there)!r}):
        time.sleep(0.01)
    print({saying!r}, flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)
threading.Thread(target=die, daemon=True).start()
"""


def command(script: str, *argv: str, **keys: object) -> Fixed:
    return Fixed(ServerCommand(argv=("{python}", "-c", script, *argv), **keys))  # type: ignore[arg-type]
