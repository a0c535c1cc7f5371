"""What files and batches take on disk: bounded while they come, and nothing of a process that was killed stays."""

import asyncio
import os
import threading
import time

import pytest

from orchestrator.bulk.objects import BatchRequest, Owned, entered, new_batch, new_file
from orchestrator.bulk.store import Store
from orchestrator.bulk.uploads import PATIENCE_S, Uploads, in_thread
from orchestrator.config import BatchesSpec
from orchestrator.errors import BodyTooLarge, LedgerUnavailable
from orchestrator.types import ANONYMOUS
from tests.support.batches import URL


@pytest.fixture
def store(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path / "batches")
    store.open()
    yield store
    store.close()


def uploads_of(store, **limits):
    return Uploads(store, lambda: BatchesSpec(**limits))


async def test_room_is_taken_from_when_a_file_begins_to_come(store):
    uploads = uploads_of(store, max_stored_gb=1e-6)
    async with uploads.room(600):
        with pytest.raises(BodyTooLarge, match="delete some"):
            async with uploads.room(600):
                pass
        async with uploads.room(400):
            pass
    async with uploads.room(600):
        pass


async def test_of_uploads_that_come_together_no_more_are_taken_than_there_is_room_for(store):
    uploads, taken, all_tried = uploads_of(store, max_stored_gb=1e-6), 0, asyncio.Barrier(10)

    async def upload():
        nonlocal taken
        try:
            async with uploads.room(300):
                taken += 1
                await all_tried.wait()
        except BodyTooLarge:
            await all_tried.wait()

    await asyncio.gather(*(upload() for _ in range(10)))
    assert 0 < taken <= 3


def test_what_a_killed_process_left_half_made_is_deleted_later_and_the_rest_stays(store):
    file = new_file("in.jsonl", 1, now=0.0)
    store.save_file(file, "alice")
    running, over = (new_batch(BatchRequest(file.id, URL, "24h"), now=0.0) for _ in range(2))
    store.add_batch(Owned(running, ANONYMOUS))
    store.add_batch(Owned(entered(over, "failed", now=0.0), ANONYMOUS))
    kept = {store.path(file.id), store.journal(running.id), store.folder / "notes.txt"}
    left = {
        store.path("file-abc"),
        store.journal(over.id),
        store.journal("batch_abc"),
        store.folder / ".file-a.jsonl.9.tmp",
    }
    for path in kept | left:
        path.write_text("x")
        os.utime(path, (0, 0))
    just_made = store.path("file-def")  # another gateway is about to speak of it
    just_made.write_text("x")
    store.discard_leftovers()
    assert set(store.folder.iterdir()) == kept | {just_made}


async def test_a_database_that_stands_still_keeps_nobody_from_other_work_and_who_waits_for_it_is_told():
    goes_on = threading.Event()
    stuck = [asyncio.create_task(in_thread(goes_on.wait)) for _ in range(10)]
    async with asyncio.timeout(PATIENCE_S / 2):
        assert await asyncio.to_thread(len, "other work") == 10
    began = time.monotonic()
    with pytest.raises(LedgerUnavailable):
        await in_thread(len, "behind them")
    assert time.monotonic() - began < 2 * PATIENCE_S
    goes_on.set()
    ended = await asyncio.gather(*stuck, return_exceptions=True)
    assert {end if end is True else type(end) for end in ended} == {True, LedgerUnavailable}
    assert await in_thread(len, "it goes on") == 10
