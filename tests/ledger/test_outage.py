"""A PostgreSQL that goes away and comes back, as in an upgrade or a failover: nothing recorded is lost, and who asks is told."""

import asyncio
import logging
import time

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from orchestrator.errors import LedgerUnavailable
from orchestrator.ledger.database import connect
from orchestrator.ledger.sql import PATIENCE_S
from orchestrator.ledger.watched import SILENT_S
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


async def test_a_server_that_stands_still_is_like_one_that_is_gone():
    with PostgresServer.running() as server:
        async with opened(server.new_database()) as ledger:
            ledger.record(decision("sw-before"))
            await ledger.feedback(Feedback("sw-before", score=1.0))
            server.freeze()
            for i in range(50):
                ledger.record(decision(f"sw-{i}"))
            began = time.monotonic()
            asked = [asyncio.create_task(ledger.feedback(Feedback("sw-before", score=0.0))) for _ in range(20)]
            told = await asyncio.gather(*asked, return_exceptions=True)
            assert {type(error) for error in told} == {LedgerUnavailable}
            assert time.monotonic() - began < 2 * PATIENCE_S, "nobody waits for those before it, too"
            server.thaw()
            await ledger.feedback(Feedback("sw-49", score=0.5))
            assert len([made async for made in ledger.decisions()]) == 51
            assert ledger.lost == 0


def test_what_was_asked_of_a_server_that_stops_ends():
    with PostgresServer.running() as server:
        engine = connect(f"{server.new_database()}?connect_timeout=2")
        with engine.connect() as connection:
            server.freeze()
            began = time.monotonic()
            with pytest.raises(OperationalError, match="does not answer any more"):
                connection.execute(sa.select(1))
            assert SILENT_S < time.monotonic() - began < SILENT_S + 4.0
        server.thaw()
        with engine.connect() as connection:
            assert connection.execute(sa.select(1)).scalar() == 1
        engine.dispose()


def test_a_statement_that_takes_long_is_waited_for():
    with PostgresServer.running() as server:
        engine = connect(server.new_database())
        with engine.connect() as connection:
            began = time.monotonic()
            connection.execute(sa.select(sa.func.pg_sleep(SILENT_S + 1.0)))
            assert time.monotonic() - began >= SILENT_S + 1.0
        engine.dispose()


def test_a_statement_that_the_server_ends_is_an_error_and_the_connection_stays():
    with PostgresServer.running() as server:
        engine = connect(server.new_database())
        with engine.connect() as connection:
            connection.exec_driver_sql("SET statement_timeout = 50")
            with pytest.raises(OperationalError, match="statement timeout"):
                connection.execute(sa.select(sa.func.pg_sleep(5)))
            connection.rollback()
            assert connection.execute(sa.select(1)).scalar() == 1
        engine.dispose()
