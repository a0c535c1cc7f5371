"""`switchyard serve --engine ray`: sees to it that the service runs on a cluster, until it is told to stop.

    serve_on_ray(Path("experts.yaml"))            # until SIGINT or SIGTERM

What is connected to the cluster is a process below this one (`driving.py`), because Ray ends such a process, or lets it hang, when
its head is gone. Once it has served, another is started whenever it ends before it should: it joins what cluster there is then, or
starts a new one. Whatever it has started on this machine ends with it, and with this process, even if that is killed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.engines import child
from orchestrator.gateway.server import stop_on_signals

STOP_S = 15.0
"""For what has no reason to take long: the end of servers, each of which has 10 s."""
DRAINED_S = 30.0 + STOP_S
"""For the gateways, which give requests under way 30 s."""
TAKEN_DOWN_S = 30.0
"""For Serve."""
END_S = DRAINED_S + TAKEN_DOWN_S + 2 * STOP_S + 30.0
"""How long the end of the service may take, whatever holds it up: more than all of it in order, which isn't cut short."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 15.0
"""Before another attempt to serve again; twice as long after each that failed."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be served. host, port: None is what the file says then."""

    config: Path
    host: str | None
    port: int | None

    def encode(self) -> str:
        return json.dumps({"config": str(self.config), "host": self.host, "port": self.port})

    @classmethod
    def decode(cls, text: str) -> Wanted:
        fields = json.loads(text)
        return cls(Path(fields["config"]), fields["host"], fields["port"])


def serve_on_ray(config_path: Path, *, host: str | None = None, port: int | None = None) -> None:
    """Run the service until SIGINT or SIGTERM. Raises SystemExit when it can't be started, for reasons that were told on stderr."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    if code := asyncio.run(_keep_serving(Wanted(config_path.absolute(), host, port))):
        sys.exit(code)


async def _keep_serving(wanted: Wanted) -> int:
    """Returns the exit code of the last process."""
    stop = stop_on_signals()
    has_served, pause_s = False, FIRST_PAUSE_S
    while True:
        code, served_at = await _serve(wanted, stop)
        has_served |= served_at is not None
        if stop.is_set() or not has_served:
            return code
        if served_at is not None:
            wanted, pause_s = replace(wanted, port=served_at), FIRST_PAUSE_S
        logger.warning("the service is started again in %g s", pause_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await stop.wait()
                return 0
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def _serve(wanted: Wanted, stop: asyncio.Event) -> tuple[int, int | None]:
    """Have a process serve, which the end of its input tells to stop. Returns its exit code, and the port if it has served."""
    theirs, lifeline = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", child.__file__, str(theirs)),
            *(sys.executable, "-P", "-m", "orchestrator.engines.ray.driving", wanted.encode()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=[theirs],
            start_new_session=True,
        )
    finally:
        os.close(theirs)
    assert process.stdin is not None
    assert process.stdout is not None
    said = asyncio.create_task(process.stdout.read())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({said, stopping}, return_when=asyncio.FIRST_COMPLETED)
        process.stdin.close()
        await asyncio.wait({said}, timeout=END_S)
    finally:
        stopping.cancel()
        os.close(lifeline)  # whatever is left of it is killed
    port = (await said).decode()
    return await process.wait(), int(port) if port else None
