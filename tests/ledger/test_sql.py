"""The ledger through its interface: nothing recorded is lost, feedback is durable, one expert per collection."""

import asyncio

import pytest

from orchestrator.errors import ConfigError, LedgerUnavailable, NotFound
from orchestrator.gateway.requests import new_decision_id
from orchestrator.ledger import schema
from orchestrator.ledger.base import Routed
from orchestrator.ledger.database import connect, serialise
from orchestrator.ledger.sql import SQLLedger
from orchestrator.types import Feedback
from routers.base import Outcome
from tests.support.ledger import decision, opened
from tests.support.postgres import KINDS, database_url


@pytest.fixture(params=KINDS)
def url(request, tmp_path):
    return database_url(request.param, tmp_path)


@pytest.fixture
async def ledger(url):
    async with opened(url) as ledger:
        yield ledger


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


async def exported(ledger, *feedback, **changes):
    """The outcomes of one decision with this feedback."""
    ledger.record(decision(**changes))
    for given in feedback or (Feedback("sw-1", score=1.0),):
        await ledger.feedback(given)
    return await rows(ledger)


@pytest.mark.parametrize(
    "changes", [{"text": ""}, {"mode": "panel", "expert": "panel/both"}, {"expert": None, "status": 502}]
)
async def test_outcomes_leave_out_what_teaches_nothing(ledger, changes):
    assert await exported(ledger, **changes) == []


@pytest.mark.parametrize(
    "changes",
    [{"router": None, "policy": "a", "propensity": 1.0}, {"kind": "embedding", "reason": "collection 'docs'"}],
    ids=["called by name", "a collection's"],
)
async def test_an_expert_that_no_router_chose_has_no_propensity(ledger, changes):
    [outcome] = await exported(ledger, **changes)
    assert (outcome.rewards, outcome.costs, outcome.propensity) == ({"a": 1.0}, {"a": 0.001}, {})


async def test_feedback_about_another_expert_has_neither_cost_nor_propensity(ledger):
    [outcome] = await exported(ledger, Feedback("sw-1", score=0.25, expert="b"))
    assert (outcome.rewards, outcome.costs, outcome.propensity) == ({"b": 0.25}, {}, {})


async def test_feedback_about_two_experts_is_one_outcome(ledger):
    given = Feedback("sw-1", score=1.0), Feedback("sw-1", score=0.25, expert="b"), Feedback("sw-1", score=0.5)
    [outcome] = await exported(ledger, *given)
    assert (outcome.rewards, outcome.propensity) == ({"a": 0.5, "b": 0.25}, {"a": 0.95})


async def test_beside_the_propensity_of_who_answered_stand_those_of_the_others(ledger):
    chances = {"a": 0.95, "b": 0.05, "c": 0.0}
    [outcome] = await exported(ledger, propensities=chances)
    assert outcome.propensity == chances
    given = Feedback("sw-1", score=1.0), Feedback("sw-1", score=0.25, expert="b")
    [outcome] = await exported(ledger, *given, propensities=chances)
    assert outcome.propensity == {"a": 0.95, "c": 0.0}, "b's reward came without a draw"


async def routed(ledger, policy="auto", **options):
    return [row async for row in ledger.routed(policy, **options)]


async def test_what_a_policy_routed_is_read_scored_or_not_in_order_of_time(ledger):
    chances = {"a": 0.95, "b": 0.05}
    for i in range(1_500):
        ledger.record(decision(f"sw-{i}", created_at=float(i // 7), text=f"question {i}", propensities=chances))
    await ledger.feedback(Feedback("sw-3", score=0.0))
    await ledger.feedback(Feedback("sw-3", score=0.75))
    await ledger.feedback(Feedback("sw-4", score=0.5, expert="b"))
    rows = await routed(ledger)
    assert sorted(row.query for row in rows) == sorted(f"question {i}" for i in range(1_500))
    rewards = {row.query: row.reward for row in rows if row.reward is not None}
    assert rewards == {"question 3": 0.75}, "feedback about another expert is none on who answered"
    assert rows[0] == Routed("question 0", "a", None, 0.001, chances)
    assert len(await routed(ledger, since=100.0)) == 1_500 - 700
    assert await routed(ledger, "cheap") == []


@pytest.mark.parametrize(
    "changes",
    [
        {"text": ""},
        {"status": 502},
        {"propensities": {}},
        {"router": None},
        {"mode": "cascade"},
        {"mode": "panel", "expert": "panel/both"},
        {"kind": "embedding"},
    ],
    ids=["no text", "failed", "a conversation that stayed", "called by name", "cascade", "panel", "embedding"],
)
async def test_what_was_not_chosen_by_scores_or_not_answered_was_not_routed(ledger, changes):
    ledger.record(decision(**({"propensities": {"a": 1.0}} | changes)))
    assert await routed(ledger) == []


async def test_a_correction_is_the_target(ledger):
    given = (
        Feedback("sw-1", correction="5"),
        Feedback("sw-1", score=0.0, correction="4"),
        Feedback("sw-1", comment="no"),
    )
    [outcome] = await exported(ledger, *given)
    assert (outcome.rewards, outcome.target) == ({"a": 0.0}, "4")


async def test_a_decision_that_can_not_be_stored_holds_up_nobody(url, caplog):
    ledger = SQLLedger(url)
    await ledger.open()
    ledger.record(decision("sw-half", text="\ud800"))
    ledger.record(decision("sw-whole"))
    await ledger.feedback(Feedback("sw-whole", score=1.0))
    assert ledger.lost == 1
    assert "decision sw-half can't be stored" in caplog.text
    ledger.record(decision("sw-later"))
    await ledger.close()
    again = SQLLedger(url)
    await again.open()
    assert await again.decision("sw-later") is not None
    assert await again.decision("sw-half") is None
    await again.close()


async def test_what_the_database_refuses_holds_up_nobody(tmp_path):
    url = database_url("postgres", tmp_path)
    async with opened(url) as ledger:
        for i in range(100):
            ledger.record(decision(f"sw-{i}", status=2**40 if i in (17, 60) else 200))
        await ledger.feedback(Feedback("sw-99", score=1.0))
        assert {made.id async for made in ledger.decisions()} == {f"sw-{i}" for i in range(100) if i not in (17, 60)}
        assert ledger.lost == 2


async def test_one_that_cannot_be_read_keeps_nobody_from_the_others(url, ledger, caplog):
    for name in ("sw-1", "sw-2"):
        ledger.record(decision(name))
        await ledger.feedback(Feedback(name, score=1.0))
    other = connect(url)
    with other.begin() as connection:
        connection.execute(schema.decisions.update().where(schema.decisions.c.id == "sw-1").values(record=b'{"id"'))
    other.dispose()
    assert [outcome.id for outcome in await rows(ledger)] == ["sw-2"]
    assert [made.id async for made in ledger.decisions()] == ["sw-2"]
    assert "can't be read" in caplog.text


async def test_what_people_asked_is_for_the_owners_eyes(tmp_path):
    ledger = SQLLedger(database_url("sqlite", tmp_path))
    await ledger.open()
    ledger.record(decision())
    await ledger.feedback(Feedback("sw-1", score=1.0))
    files = [*(tmp_path / "nested").iterdir()]
    assert {file.name for file in files} == {"ledger.db", "ledger.db-wal", "ledger.db-shm"}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert (tmp_path / "nested").stat().st_mode & 0o777 == 0o700
    await ledger.close()


async def test_texts_are_left_out_when_they_are_not_to_be_kept(url):
    ledger = SQLLedger(url, keep_text=False)
    await ledger.open()
    ledger.record(decision())
    assert (await ledger.decision("sw-1")).text == ""
    await ledger.close()


async def test_the_first_expert_keeps_a_collection(ledger):
    docs = ("key", "embedding", "docs")
    assert await ledger.collection(*docs) is None
    racing = [ledger.create_collection(*docs, expert) for expert in ("minilm", "e5", "minilm")]
    owners = set(await asyncio.gather(*racing))
    assert owners == {await ledger.collection(*docs)}
    assert await ledger.collection("another key", "embedding", "docs") is None
    assert await ledger.collection("key", "rerank", "docs") is None


async def test_a_database_that_cannot_be_opened_is_a_config_error(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigError, match=r"ledger\.url"):
        await SQLLedger(f"sqlite:///{tmp_path / 'file' / 'ledger.db'}").open()


async def test_a_file_that_is_no_database_is_a_config_error(tmp_path):
    (tmp_path / "ledger.db").write_text("this is not SQLite, whatever its name says" * 100)
    with pytest.raises(ConfigError, match=r"ledger\.url"):
        await SQLLedger(f"sqlite:///{tmp_path / 'ledger.db'}").open()


async def test_a_database_that_fails_is_a_clear_error_and_stops_nobody(url, caplog):
    ledger = SQLLedger(url)
    await ledger.open()
    ledger.record(decision())
    other = connect(url)
    with other.begin() as connection:
        for table in (schema.feedback, schema.decisions):
            table.drop(connection)
    other.dispose()
    with pytest.raises(LedgerUnavailable):
        await ledger.feedback(Feedback("sw-1", 1.0))
    await ledger.close()
    assert "1 decisions could not be written" in caplog.text


async def test_rewarded_decisions_come_once_in_the_order_of_their_first_scores(ledger):
    for name in ("sw-1", "sw-2", "sw-3"):
        ledger.record(decision(name, artifact=f"of {name}"))
    for name, score in (("sw-2", 0.0), ("sw-1", 0.25), ("sw-2", 1.0)):
        await ledger.feedback(Feedback(name, score=score))
    first, second = [found async for found in ledger.rewarded()]
    assert [(found.outcome.id, found.outcome.rewards, found.artifact) for found in (first, second)] == [
        ("sw-2", {"a": 1.0}, "of sw-2"),
        ("sw-1", {"a": 0.25}, "of sw-1"),
    ]
    await ledger.feedback(Feedback("sw-1", score=0.5))
    await ledger.feedback(Feedback("sw-3", score=0.75))
    later = [found.outcome.id async for found in ledger.rewarded(second.number)]
    assert later == ["sw-3"]


async def test_all_decisions_are_read_in_order_of_time(ledger):
    for i in range(1_500):
        ledger.record(decision(f"sw-{i}", created_at=float(2_000 - i), status=200 if i % 2 else 502))
    read = [made async for made in ledger.decisions(since=1_000.0)]
    assert [made.created_at for made in read] == [float(at) for at in range(1_000, 2_001)]


async def test_what_no_database_can_hold_of_a_text_is_replaced(ledger):
    ledger.record(decision(key_id="k" * 1_000, policy="p\0q"))
    await ledger.feedback(Feedback("sw-1", comment="a\0b", correction="half \ud800"))
    await ledger.feedback(Feedback("sw-1", score=1.0))
    [outcome] = await rows(ledger)
    assert outcome.target == "half ?"
    assert await ledger.decision("sw-\0") is None


async def test_what_another_gateway_has_just_decided_can_be_scored(url, ledger):
    async with opened(url) as other:
        made = decision(new_decision_id())
        other.record(made)
        await ledger.feedback(Feedback(made.id, score=0.5))
        assert [outcome.id for outcome in await rows(other)] == [made.id]


async def test_gateways_that_race_for_a_collection_agree(url, ledger):
    async with opened(url) as other:
        racing = [
            each.create_collection("key", "embedding", f"docs {i}", expert)
            for i in range(20)
            for each, expert in ((ledger, "minilm"), (other, "e5"))
        ]
        owners = await asyncio.gather(*racing)
        assert owners[::2] == owners[1::2]


async def test_whoever_has_read_to_a_number_misses_no_score_below_it(url, ledger):
    """As a router that learns online does, while several gateways write."""
    for name in ("sw-1", "sw-2"):
        ledger.record(decision(name))
    await ledger.feedback(Feedback("sw-2", comment="they are stored now"))
    row = {"decision_id": "sw-1", "created_at": 0.0, "key_id": "anonymous", "score": 1.0}
    other = connect(url)
    with other.begin() as connection:
        serialise(connection, "feedback")
        connection.execute(schema.feedback.insert(), row)  # the lower number, and not there before the transaction ends
        later = asyncio.create_task(ledger.feedback(Feedback("sw-2", score=1.0)))
        await asyncio.wait([later], timeout=0.3)
        assert not later.done()
    await later
    assert [rewarded.outcome.id async for rewarded in ledger.rewarded()] == ["sw-1", "sw-2"]
    other.dispose()
