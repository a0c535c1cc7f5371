"""A long run of the `switchyard` command that is ended amid its fifth question, and started again."""

import asyncio
import signal
from collections import deque

from tests.support.cli import start_switchyard, switchyard
from tests.support.service import openai_expert, write_config
from tests.support.upstream import running_upstream


async def ended_and_resumed(folder, command, out, number):
    """The upstream that was asked, and the second run's result. number: the signal that ends the first; `out` isn't there then."""
    async with running_upstream(script=deque(["ok"] * 4 + ["hang"])) as upstream:
        write_config(folder, openai_expert("a", upstream.base_url, limits={"concurrency": 1}))
        process = await start_switchyard(*command, cwd=folder)
        async with asyncio.timeout(30):
            while len(upstream.requests) < 5:
                upstream.arrived.clear()
                await upstream.arrived.wait()
        process.send_signal(number)
        _, err = await process.communicate()
        assert not (folder / out).exists()
        if number == signal.SIGINT:
            assert process.returncode == 130
            assert err.decode().startswith(f"stopped; what was answered is kept in {out}.journal")
        result = await switchyard(*command, "--json", cwd=folder)
    assert result.code == 0, result.err
    return upstream, result
