"""URLs of the ledger: which there are, what is refused, and that a password is told to nobody."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.config.whole import LedgerSpec
from orchestrator.errors import ConfigError
from orchestrator.ledger.database import connect, require_shared
from orchestrator.ledger.sql import SQLLedger
from tests.support.ledger import opened
from tests.support.postgres import KINDS, database_url

SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://switchyard:{SECRET}@127.0.0.1:1/ledger",
        f"postgresql+psycopg://switchyard:{SECRET}@no.such.host.invalid/ledger",
        f"postgresql://switchyard:p@{SECRET}/x@127.0.0.1/ledger",
        f"postgresql://switchyard:p@127.0.0.1:{SECRET}/ledger",
        f"mysql://switchyard:{SECRET}@127.0.0.1/ledger",
        f"postgresql+asyncpg://switchyard:{SECRET}@127.0.0.1/ledger",
        f"{SECRET}",
    ],
    ids=["nobody there", "no such host", "an @ in it", "a : in it", "mysql", "another driver", "no URL"],
)
async def test_a_url_that_cannot_be_used_is_a_config_error_without_its_password(url, caplog):
    ledger = SQLLedger(url)
    with pytest.raises(ConfigError, match=r"^ledger\.url: .*postgresql://USER@HOST/DATABASE|as %40") as raised:
        await ledger.open()
    await ledger.close()
    assert SECRET not in f"{raised.value}{raised.value.__cause__!r}{ledger!r}{LedgerSpec(url=url)!r}{caplog.text}"


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_both_names_of_postgresql_are_one_and_lock_out_nobody_for_long(scheme, tmp_path):
    url = (
        database_url("postgres", tmp_path).replace("postgresql", scheme).replace("switchyard@", f"switchyard:{SECRET}@")
    )
    engine = connect(url)
    assert engine.dialect.driver == "psycopg"
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar() == "30s"
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "1min"
    assert SECRET not in repr(engine)
    engine.dispose()


def test_without_the_driver_the_extra_is_named(tmp_path):
    script = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from orchestrator.ledger.database import connect\n"
        "connect('postgresql://127.0.0.1/ledger')"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert "pip install 'switchyard-llm[postgres]'" in ran.stderr.splitlines()[-1]


@pytest.mark.parametrize("url", [None, "sqlite:///ledger.db", "sqlite:////shared/ledger.db"])
def test_sqlite_is_refused_for_several_machines(url):
    with pytest.raises(ConfigError, match=r"SQLite is a file for the gateways of one machine.*postgresql://"):
        require_shared(url)


def test_postgresql_is_for_several_machines():
    require_shared("postgresql://switchyard@db.internal/switchyard")


RECORDER = """
import asyncio, sys
from orchestrator.types import Feedback
from tests.support.ledger import decision, opened

async def record(url, name):
    async with opened(url) as ledger:
        for i in range(300):
            ledger.record(decision(f"sw-{name}-{i}"))
            if not i % 20:
                await ledger.feedback(Feedback(f"sw-{name}-{i}", score=1.0))
        assert not ledger.lost

asyncio.run(record(*sys.argv[1:]))
"""


@pytest.mark.parametrize("kind", KINDS)
async def test_processes_that_record_into_one_database_lose_nothing(kind, tmp_path):
    url = database_url(kind, tmp_path)
    root = Path(__file__).parents[2]
    running = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", RECORDER, url, name, cwd=root) for name in "abc"
    ]
    assert [await process.wait() for process in running] == [0, 0, 0]
    async with opened(url) as ledger:
        recorded = {made.id async for made in ledger.decisions()}
        assert recorded == {f"sw-{name}-{i}" for name in "abc" for i in range(300)}
        assert len([scored async for scored in ledger.outcomes()]) == 3 * 15
