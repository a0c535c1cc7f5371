"""The ledger through its interface: nothing recorded is lost, feedback is durable, one expert per collection."""

import asyncio
import time

import pytest

from orchestrator.errors import ConfigError, NotFound
from orchestrator.ledger.sql import SQLLedger
from orchestrator.types import Attempt, Decision, Feedback
from routers.base import Outcome


def decision(id_: str = "sw-1", **changes) -> Decision:
    made = Decision(
        id=id_, created_at=time.time(), kind="chat", model="auto", policy="auto", text="What is 2 + 2?", key_id="anonymous",
        scores={"a": 0.7, "b": 0.2}, plan=("a", "b"), expert="a", waits_s={"a": 0.0},
        attempts=[Attempt("a", "ok", 0.0, 0.1)], propensity=0.95, cost_usd=0.001, status=200,
    )  # fmt: skip
    for name, value in changes.items():
        setattr(made, name, value)
    return made


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'nested' / 'ledger.db'}"


@pytest.fixture
async def ledger(url):
    ledger = SQLLedger(url)
    await ledger.open()
    yield ledger
    await ledger.close()


async def rows(ledger):
    return [row async for row in ledger.outcomes()]


async def test_a_decision_can_be_read_at_once_and_after_a_restart(url):
    ledger = SQLLedger(url)
    await ledger.open()
    ledger.record(decision())
    assert (await ledger.decision("sw-1")).scores == {"a": 0.7, "b": 0.2}
    await ledger.close()

    again = SQLLedger(url)
    await again.open()
    assert await again.decision("sw-1") == decision(created_at=(await again.decision("sw-1")).created_at)
    await again.close()


async def test_gateways_that_start_together_create_one_database(url):
    ledgers = [SQLLedger(url) for _ in range(8)]
    await asyncio.gather(*(ledger.open() for ledger in ledgers))
    ledgers[0].record(decision())
    await ledgers[0].close()
    assert await ledgers[1].decision("sw-1") is not None
    await asyncio.gather(*(ledger.close() for ledger in ledgers[1:]))


async def test_an_unknown_decision_is_none(ledger):
    assert await ledger.decision("sw-none") is None


async def test_recording_never_waits(ledger):
    for i in range(5_000):
        ledger.record(decision(f"sw-{i}"))
    assert (await ledger.decision("sw-4999")).id == "sw-4999"


async def test_feedback_on_a_decision_that_was_just_made_is_durable(ledger, url):
    ledger.record(decision())
    await ledger.feedback(Feedback("sw-1", score=1.0, comment="right"))

    another_process = SQLLedger(url)
    await another_process.open()
    assert (await rows(another_process))[0].rewards == {"a": 1.0}
    await another_process.close()


async def test_feedback_on_an_unknown_decision_says_so(ledger):
    with pytest.raises(NotFound, match="sw-none"):
        await ledger.feedback(Feedback("sw-none", score=1.0))


async def test_outcomes_hold_the_last_score_with_cost_and_propensity(ledger):
    ledger.record(decision())
    await ledger.feedback(Feedback("sw-1", score=0.0))
    await ledger.feedback(Feedback("sw-1", comment="no score here"))
    await ledger.feedback(Feedback("sw-1", score=1.0))
    assert await rows(ledger) == [
        Outcome("What is 2 + 2?", {"a": 1.0}, id="sw-1", costs={"a": 0.001}, propensity={"a": 0.95})
    ]


async def test_texts_are_left_out_when_they_are_not_to_be_kept(url):
    ledger = SQLLedger(url, keep_text=False)
    await ledger.open()
    ledger.record(decision())
    assert (await ledger.decision("sw-1")).text == ""
    await ledger.close()


async def test_the_first_expert_keeps_a_collection(ledger):
    assert await ledger.collection("key", "docs") is None
    racing = [ledger.create_collection("key", "docs", expert) for expert in ("minilm", "e5", "minilm")]
    owners = set(await asyncio.gather(*racing))
    assert owners == {await ledger.collection("key", "docs")}
    assert await ledger.collection("another key", "docs") is None


async def test_a_database_that_cannot_be_opened_is_a_config_error(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigError, match=r"ledger\.url"):
        await SQLLedger(f"sqlite:///{tmp_path / 'file' / 'ledger.db'}").open()


async def test_a_file_that_is_no_database_is_a_config_error(tmp_path):
    (tmp_path / "ledger.db").write_text("this is not SQLite, whatever its name says" * 100)
    with pytest.raises(ConfigError, match=r"ledger\.url"):
        await SQLLedger(f"sqlite:///{tmp_path / 'ledger.db'}").open()
