"""`switchyard serve` in a process of its own, on a free port, as a user runs it.

with switchyard_serve(folder / "experts.yaml") as gateway:
    httpx.post(f"{gateway.url}/v1/chat/completions", json=...)
    gateway.process.send_signal(signal.SIGTERM)
"""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

COMMAND = (sys.executable, "-c", "from orchestrator.cli import main; main()")
LISTENING = re.compile(r"listening on (http://\S+)/v1")
START_S = STOP_S = 60.0


@dataclass
class ServedGateway:
    """url: without `/v1`. log: the lines it has written so far."""

    process: subprocess.Popen[str]
    log: list[str] = field(default_factory=list)
    url: str = ""

    def read(self, listening: threading.Event) -> None:
        """Everything it writes, until it ends."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if found := LISTENING.search(line):
                self.url = found[1]
                listening.set()
        listening.set()

    def servers(self) -> list[psutil.Process]:
        """Every process below it."""
        return psutil.Process(self.process.pid).children(recursive=True)


@contextmanager
def switchyard_serve(
    config: Path, *options: str, inside: Sequence[str] = (), **environment: str
) -> Iterator[ServedGateway]:
    """Started, and stopped by SIGTERM unless it has ended by then. inside: what its command line begins with."""
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [*inside, *COMMAND, "serve", "--config", config, "--port", "0", *options],
        cwd=root,
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        gateway, listening = ServedGateway(process), threading.Event()
        reader = threading.Thread(target=gateway.read, args=[listening])
        reader.start()
        try:
            assert listening.wait(START_S)
            assert gateway.url, "".join(gateway.log)
            yield gateway
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            finally:
                process.kill()
                reader.join()
