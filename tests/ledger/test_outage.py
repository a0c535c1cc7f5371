"""A PostgreSQL that goes away and comes back, as in an upgrade or a failover: nothing recorded is lost, and who asks is told."""

import asyncio
import logging

import pytest

from orchestrator.errors import LedgerUnavailable
from orchestrator.types import Feedback
from tests.support.ledger import decision, opened
from tests.support.postgres import PostgresServer


async def test_a_server_that_is_stopped_and_started_again_loses_nothing(caplog):
    caplog.set_level(logging.WARNING)
    with PostgresServer.running() as server:
        url = server.new_database()
        async with opened(url) as ledger:
            ledger.record(decision("sw-before"))
            await ledger.feedback(Feedback("sw-before", score=1.0))
            server.stop()
            for i in range(2_500):
                ledger.record(decision(f"sw-{i}"))
            for name in ("sw-before", "sw-1"):
                with pytest.raises(LedgerUnavailable):
                    await ledger.feedback(Feedback(name, score=0.0))
            assert (await ledger.decision("sw-1")).id == "sw-1", "what waits can be read"
            while "2500 decisions wait" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

            server.start()
            await ledger.feedback(Feedback("sw-1", score=0.5))
            assert {row.id async for row in ledger.outcomes()} == {"sw-before", "sw-1"}
            assert ledger.lost == 0
        async with opened(url) as again:
            assert len([made async for made in again.decisions()]) == 2_501
