"""Batches of a gateway: they go on after a restart, end when they are told to or their time is over, and what is done is kept."""

import asyncio
import sqlite3
from collections import deque
from contextlib import asynccontextmanager

import msgspec
import pytest

from orchestrator.bulk.objects import BatchRequest, Expiry, Owned, entered, new_batch, new_file, output_id
from orchestrator.bulk.store import Page, Store
from orchestrator.errors import BodyTooLarge, LedgerUnavailable, NotFound, RateLimited, RequestError
from orchestrator.types import ANONYMOUS, Caller
from tests.support.batches import ALICE, BOB, URL, line, rows, upload, when
from tests.support.service import openai_expert, service_of
from tests.support.upstream import running_upstream

SLOW = {"name": "a", "backend": "echo", "latency_s": 30}
ECHO = {"name": "a", "backend": "echo"}


async def made(batches, lines, caller=ALICE):
    file = await upload(batches, lines, caller)
    return await batches.create(caller, BatchRequest(file.id, URL, "24h"))


@asynccontextmanager
async def batches_of(folder, *experts, **sections):
    async with service_of(folder, *experts, **sections) as service:
        yield service.batches


async def test_answers_and_errors_come_in_files_of_their_own(tmp_path):
    async with batches_of(tmp_path, ECHO) as batches:
        batch = await made(batches, [line("good"), line("bad", "nobody")])
        assert batch.status == "validating"
        batch = await when(batches, batch, "completed")
        assert [row["custom_id"] for row in await rows(batches, batch.output_file_id)] == ["good"]
        (failed,) = await rows(batches, batch.error_file_id)
        assert (failed["custom_id"], failed["response"]["status_code"], failed["error"]) == ("bad", 404, None)
        assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (2, 1, 1)
        assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at


async def test_a_file_that_is_wrong_fails_the_batch_with_its_lines(tmp_path):
    async with batches_of(tmp_path, ECHO) as batches:
        batch = await when(batches, await made(batches, [line("a"), line("a"), line("b", method="PUT")]), "failed")
        told = [(fault.line, fault.code) for fault in batch.errors.data]
        assert told == [(2, "duplicate_custom_id"), (3, "invalid_method")]
        assert batch.output_file_id is None


async def test_it_goes_on_after_a_restart_and_asks_nobody_twice(tmp_path):
    async with running_upstream(script=deque(["ok"] * 3 + ["hang"])) as upstream:
        expert = openai_expert("a", upstream.base_url, limits={"concurrency": 1})
        async with batches_of(tmp_path, expert) as batches:
            batch = await made(batches, [line(f"r{i}", text=f"q{i}") for i in range(6)])
            while len(upstream.requests) < 4:
                upstream.arrived.clear()
                await upstream.arrived.wait()
            batch = await batches.batch(ALICE, batch.id)
            assert (batch.status, batch.request_counts.completed) == ("in_progress", 3)
        async with batches_of(tmp_path, expert) as batches:
            await batches.open()
            batch = await when(batches, batch, "completed")
            assert batch.request_counts.completed == len(await rows(batches, batch.output_file_id)) == 6
    said = [exchange.body["messages"][0]["content"] for exchange in upstream.requests]
    assert len(said) == 7, "only the one that was never answered was asked twice"


@pytest.mark.parametrize(("left_in", "ends"), [("finalizing", "completed"), ("cancelling", "cancelled")])
async def test_what_was_interrupted_at_its_end_is_brought_to_it(tmp_path, left_in, ends):
    async with batches_of(tmp_path, ECHO) as batches:
        file = await upload(batches, [line("a")])
        batch = entered(new_batch(BatchRequest(file.id, URL, "24h"), now=file.created_at), left_in, now=0.0)
    left(tmp_path, Owned(batch, ALICE))
    async with batches_of(tmp_path, ECHO) as batches:
        await batches.open()
        batch = await when(batches, batch, ends)
        assert batch.output_file_id if ends == "completed" else batch.error_file_id


def left(folder, owned):
    """As a gateway that was killed left it."""
    store = store_of(folder)
    store.open()
    store.add_batch(owned)
    store.close()


def store_of(folder):
    return Store(f"sqlite:///{folder / '.switchyard' / 'ledger.db'}", folder / ".switchyard" / "batches")


async def test_one_whose_time_is_over_expires_and_says_so_line_by_line(tmp_path):
    async with batches_of(tmp_path, SLOW) as batches:
        file = await upload(batches, [line("a")])
    batch = msgspec.structs.replace(new_batch(BatchRequest(file.id, URL, "24h"), now=0.0), expires_at=1)
    left(tmp_path, Owned(batch, ALICE))
    async with batches_of(tmp_path, SLOW) as batches:
        await batches.open()
        batch = await when(batches, batch, "expired")
        (row,) = await rows(batches, batch.error_file_id)
        assert (row["response"], row["error"]["code"]) == (None, "batch_expired")


async def test_a_batch_is_cancelled_and_keeps_what_was_answered(tmp_path):
    async with running_upstream(script=deque(["ok", "hang"])) as upstream:
        expert = openai_expert("a", upstream.base_url, limits={"concurrency": 1})
        async with batches_of(tmp_path, expert) as batches:
            batch = await made(batches, [line(f"r{i}") for i in range(3)])
            while len(upstream.requests) < 2:
                upstream.arrived.clear()
                await upstream.arrived.wait()
            assert (await batches.cancel(ALICE, batch.id)).status == "cancelling"
            batch = await when(batches, batch, "cancelled")
            assert len(await rows(batches, batch.output_file_id)) == 1
            codes = [row["error"]["code"] for row in await rows(batches, batch.error_file_id)]
            assert codes == ["batch_cancelled"] * 2
            with pytest.raises(RequestError, match="that is cancelled can't be cancelled"):
                await batches.cancel(ALICE, batch.id)
            assert batches.in_progress == 0


async def test_keys_see_their_own_and_operators_everybodys(tmp_path):
    async with batches_of(tmp_path, ECHO) as batches:
        batch = await when(batches, await made(batches, [line("a")]), "completed")
        for look in (batches.batch, batches.cancel):
            with pytest.raises(NotFound):
                await look(BOB, batch.id)
        for look in (batches.uploads.get, batches.uploads.contents, batches.uploads.delete):
            with pytest.raises(NotFound):
                await look(BOB, batch.output_file_id)
        with pytest.raises(NotFound):
            await batches.create(BOB, BatchRequest(batch.input_file_id, URL, "24h"))
        assert await batches.batches(BOB, Page(10)) == []
        assert (await batches.batch(ANONYMOUS, batch.id)).id == batch.id
        assert [each.id for each in await batches.batches(ANONYMOUS, Page(10))] == [batch.id]
        assert len(await batches.uploads.page(ANONYMOUS, Page(10))) == 2


async def test_a_batch_runs_with_the_rights_of_its_key(tmp_path):
    limited = Caller("limited", experts=frozenset({"b"}), admin=False)
    async with batches_of(tmp_path, ECHO, {"name": "b", "backend": "echo"}) as batches:
        batch = await made(batches, [line("own", "b"), line("others", "a")], limited)
        batch = await when(batches, batch, "completed", caller=limited)
        (failed,) = await rows(batches, batch.error_file_id, limited)
        assert (failed["custom_id"], failed["response"]["status_code"]) == ("others", 403)


async def test_a_batch_that_goes_on_has_the_rights_that_its_key_has_then(tmp_path):
    await left_under_way(tmp_path)
    async with batches_of(tmp_path, ECHO) as batches:
        batches.rights = lambda caller: Caller("alice", experts=frozenset({"b"}), admin=False)
        await batches.open()
        (batch,) = await batches.batches(ALICE, Page(10))
        (row,) = await rows(batches, (await when(batches, batch, "completed")).error_file_id)
        assert row["response"]["status_code"] == 403


async def test_a_batch_whose_key_is_gone_is_cancelled_and_says_so(tmp_path):
    await left_under_way(tmp_path)
    async with batches_of(tmp_path, ECHO) as batches:
        batches.rights = lambda caller: None
        await batches.open()
        (batch,) = await batches.batches(ANONYMOUS, Page(10))
        batch = await when(batches, batch, "cancelled")
        assert [fault.code for fault in batch.errors.data] == ["key_unknown"]
        assert (batch.output_file_id, batch.request_counts.completed) == (None, 0)


async def left_under_way(folder):
    async with batches_of(folder, SLOW) as batches:
        batch = await made(batches, [line("a")])
        await when(batches, batch, "in_progress")


async def test_a_batch_is_not_begun_without_room_for_its_answers(tmp_path):
    async with batches_of(tmp_path, ECHO, batches={"max_stored_gb": 1e-6}) as batches:
        file = await upload(batches, [line("a", text="x" * 500)])
        with pytest.raises(BodyTooLarge, match="delete some"):
            await batches.create(ALICE, BatchRequest(file.id, URL, "24h"))


async def test_nothing_is_lost_while_its_files_cannot_be_written(tmp_path):
    async with running_upstream() as upstream:
        async with batches_of(tmp_path, openai_expert("a", upstream.base_url)) as batches:
            batch = await made(batches, [line("r0"), line("r1")])
            in_the_way = tmp_path / ".switchyard" / "batches" / f"{output_id(batch, 'output')}.jsonl"
            in_the_way.mkdir()
            assert (await when(batches, batch, "finalizing")).request_counts.completed == 2
            in_the_way.rmdir()
            batch = await when(batches, batch, "completed")
            assert len(await rows(batches, batch.output_file_id)) == 2
        assert len(upstream.requests) == 2


async def test_what_the_database_could_not_keep_is_tried_again(tmp_path):
    async with batches_of(tmp_path, ECHO) as batches:
        batch = await made(batches, [line("r0")])
        await when(batches, batch, "completed")
        ledger = sqlite3.connect(tmp_path / ".switchyard" / "ledger.db", isolation_level=None)
        batch = await batches.create(ALICE, BatchRequest(batch.input_file_id, URL, "24h"))
        ledger.execute("CREATE TRIGGER locked BEFORE UPDATE ON batches BEGIN SELECT RAISE(ABORT, 'locked'); END")
        assert (await when(batches, batch, "validating")).status == "validating"
        await asyncio.sleep(0.3)
        ledger.execute("DROP TRIGGER locked")
        ledger.close()
        assert (await when(batches, batch, "completed")).request_counts.completed == 1


async def test_a_key_with_many_batches_leaves_slots_to_others_and_opens_no_files_for_those_that_wait(tmp_path):
    async with batches_of(tmp_path, SLOW) as batches:
        file = await upload(batches, [line("a")])
        for _ in range(30):
            await batches.create(ALICE, BatchRequest(file.id, URL, "24h"))
        last = await made(batches, [line("b")], BOB)
        await when(batches, last, "in_progress", caller=BOB)
        journal = tmp_path / ".switchyard" / "batches" / f"{last.id}.journal"
        async with asyncio.timeout(10):
            while not journal.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert len(list(journal.parent.glob("*.journal"))) == 13


async def test_it_can_be_opened_again_when_it_could_not_be_and_goes_on_then(tmp_path):
    await left_under_way(tmp_path)
    ledger = sqlite3.connect(tmp_path / ".switchyard" / "ledger.db", isolation_level=None)
    async with batches_of(tmp_path, ECHO) as batches:
        ledger.execute("ALTER TABLE batches RENAME COLUMN is_over TO was_over")
        with pytest.raises(LedgerUnavailable):
            await batches.open()
        ledger.execute("ALTER TABLE batches RENAME COLUMN was_over TO is_over")
        await batches.open()
        (batch,) = await batches.batches(ALICE, Page(10))
        await when(batches, batch, "completed")
    ledger.close()


async def test_one_that_cannot_be_read_keeps_no_other_from_going_on(tmp_path):
    await left_under_way(tmp_path)
    await left_under_way(tmp_path)
    ledger = sqlite3.connect(tmp_path / ".switchyard" / "ledger.db", isolation_level=None)
    ledger.execute("UPDATE batches SET record = '{' WHERE number = (SELECT min(number) FROM batches)")
    (whole,) = ledger.execute("SELECT id FROM batches WHERE record != '{'").fetchone()
    ledger.close()
    async with batches_of(tmp_path, ECHO) as batches:
        await batches.open()
        while (await batches.batch(ALICE, whole)).status != "completed":  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_what_a_batch_needs_cannot_be_deleted_and_the_rest_can(tmp_path):
    async with batches_of(tmp_path, SLOW) as batches:
        batch = await made(batches, [line("a")])
        with pytest.raises(RequestError, match="needs the file"):
            await batches.uploads.delete(ALICE, batch.input_file_id)
        await batches.cancel(ALICE, batch.id)
        await when(batches, batch, "cancelled")
        await batches.uploads.delete(ALICE, batch.input_file_id)
        with pytest.raises(NotFound):
            await batches.uploads.get(ALICE, batch.input_file_id)


async def test_files_and_batches_are_bounded(tmp_path):
    limits = {"max_stored_gb": 2e-6, "max_unfinished": 1, "max_requests": 2}
    async with batches_of(tmp_path, SLOW, batches=limits) as batches:
        batch = await made(batches, [line("a")])
        with pytest.raises(RateLimited, match="not over yet"):
            await batches.create(ALICE, BatchRequest(batch.input_file_id, URL, "24h"))
        with pytest.raises(BodyTooLarge, match="delete some"):
            await upload(batches, [line("a", text="x" * 2000)])
        await batches.cancel(ALICE, batch.id)
        await when(batches, batch, "cancelled")
        many = await made(batches, [line(f"r{i}") for i in range(3)])
        assert (await when(batches, many, "failed")).errors.data[0].code == "too_many_tasks"


async def test_files_go_when_they_expire(tmp_path):
    async with batches_of(tmp_path, ECHO) as batches:
        kept = await upload(batches, [line("a")], expiry=Expiry("created_at", 3600))
        assert kept.expires_at == kept.created_at + 3600
    store = store_of(tmp_path)
    store.open()
    old = new_file("old.jsonl", 1, now=0.0)
    store.save_file(old, "alice")
    store.path(old.id).write_text("x")
    store.close()
    async with batches_of(tmp_path, ECHO) as batches:
        await batches.open()
        assert [file.id for file in await batches.uploads.page(ALICE, Page(10))] == [kept.id]
        assert not (tmp_path / ".switchyard" / "batches" / f"{old.id}.jsonl").exists()


async def test_nothing_stays_behind_of_a_batch_but_its_files(tmp_path):
    async with batches_of(tmp_path, ECHO) as batches:
        batch = await when(batches, await made(batches, [line("a")]), "completed")
        await batches.close()
    kept = {path.name for path in (tmp_path / ".switchyard" / "batches").iterdir()}
    assert kept == {"lock", f"{batch.input_file_id}.jsonl", f"{batch.output_file_id}.jsonl"}
