"""Batches in a running gateway: made, run in the background, looked at, cancelled.

    batches = Batches(bulk, store, limits=lambda: config.batches)
    await batches.open()                             # those that a killed gateway left go on
    batch = await batches.create(caller, BatchRequest(file.id, "/v1/chat/completions", "24h"))

Every line that is done is in the batch's journal, and every state in the database, before anybody is told; so a batch goes on after
a restart, whatever ended the gateway, and no line is run twice. Of several gateways on one ledger each takes batches, tells of them
and cancels them; the one that holds the claim runs them all, so that each expert is loaded once, and another when that one is gone.
Not here: HTTP (`orchestrator/gateway/batches.py`), and the way of a batch to its end (`driving.py`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec

from orchestrator.bulk.desk import Bulk
from orchestrator.bulk.driving import Driver
from orchestrator.bulk.objects import CANCELLABLE, Batch, BatchRequest, Owned, new_batch
from orchestrator.bulk.store import LEFTOVER_S, Page, Store
from orchestrator.bulk.uploads import Uploads, in_thread, whose
from orchestrator.config import BatchesSpec
from orchestrator.errors import LedgerUnavailable, RateLimited, RequestError
from orchestrator.types import Caller

logger = logging.getLogger(__name__)


class Batches:
    """limits: of the configuration now. rights: what whoever made a batch may do now; None when nothing any more."""

    def __init__(self, bulk: Bulk, store: Store, limits: Callable[[], BatchesSpec]) -> None:
        self._store = store
        self._limits = limits
        self.rights: Callable[[Caller], Caller | None] = lambda caller: caller
        self.uploads = Uploads(store, limits)
        self._driver = Driver(
            bulk, store, limits, lambda caller: self.rights(caller), lambda: time.monotonic() < self._writes_until
        )
        self._looking = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None
        self._runs_until = 0.0
        self._writes_until = 0.0
        self._clean_at = 0.0

    @property
    def in_progress(self) -> int:
        """Batches that are not over, and are run here."""
        return len(self._driver.live)

    @property
    def runs(self) -> bool:
        """Whether it is this gateway that runs them."""
        return time.monotonic() < self._runs_until

    async def open(self) -> None:
        """Take batches, and go on with what was under way unless another gateway does.

        Does nothing when it is open. Raises `SwitchyardError` when it can't be.
        """
        async with self._looking:
            if self._keeper is not None:
                return
            await in_thread(self._store.open)
            try:
                await self._look()
            except BaseException:  # a cancelled start gives the claim back as well
                await self._close_store()
                raise
            self._keeper = asyncio.create_task(self._keep(), name="batches")
            await self.uploads.sweep()

    async def close(self) -> None:
        """What is under way goes on when it is opened again, or at another gateway."""
        if self._keeper is None:
            return
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)
        await self._close_store()
        self._keeper = None

    async def create(self, caller: Caller, request: BatchRequest) -> Batch:
        """Raises `NotFound` for the file, `RequestError` for one of another purpose, `RateLimited` while too many are under way.

        And `BodyTooLarge` without room for as much again as its file.
        """
        file = await self.uploads.get(caller, request.input_file_id)
        if file.purpose != "batch":
            raise RequestError(f"The file {file.id!r} was not uploaded for a batch.", param="input_file_id")
        mine = await in_thread(self._store.num_unfinished, caller.key_id)
        if mine >= self._limits().max_unfinished:
            raise RateLimited(f"{mine} batches of this key are not over yet.", retry_after_s=60.0)
        kept = request.output_expires_after
        owned = Owned(new_batch(request, now=time.time()), caller)
        if kept is not None:
            owned = msgspec.structs.replace(owned, outputs_kept_s=kept.seconds)
        async with self.uploads.room(file.bytes), self._looking:  # so that it is not taken up twice
            await in_thread(self._store.add_batch, owned)
            if self.runs:
                self._driver.start(owned)
        return owned.batch

    async def batch(self, caller: Caller, batch_id: str) -> Batch:
        """As it is now. Raises `NotFound`."""
        owned = await in_thread(self._store.batch, batch_id, whose(caller))
        return self._as_it_is(owned)

    async def batches(self, caller: Caller, page: Page) -> list[Batch]:
        """The caller's own, an operator's key everybody's. Raises `NotFound` for a page after a batch that isn't there."""
        return [self._as_it_is(owned) for owned in await in_thread(self._store.batches, whose(caller), page)]

    async def cancel(self, caller: Caller, batch_id: str) -> Batch:
        """Begin to end it: what is answered by then is kept. Raises `NotFound`, and `RequestError` for one that is over."""
        batch = await self.batch(caller, batch_id)
        if (live := self._driver.live.get(batch_id)) is not None:
            is_heard = await self._driver.cancel(live)
            batch = live.batch
        else:
            is_heard = batch.status in CANCELLABLE and await in_thread(self._store.cancel, batch_id, time.time())
            batch = await self.batch(caller, batch_id)
        if not is_heard:
            told = f"A batch that is {batch.status} can't be cancelled."
            raise RequestError(told, param="batch_id", code="invalid_status")
        return batch

    def _as_it_is(self, owned: Owned) -> Batch:
        live = self._driver.live.get(owned.batch.id)
        return owned.batch if live is None else live.batch

    # Who runs them

    async def _keep(self) -> None:
        """Look about, again and again, until it is closed."""
        while True:
            await asyncio.sleep(self._store.lease_s / 10)
            try:
                async with self._looking:
                    await self._look()
            except LedgerUnavailable as error:
                logger.warning("%s", error.message)
            except Exception:  # whatever it is, batches must not stand still for ever
                logger.exception("what is to become of batches could not be looked up")

    async def _look(self) -> None:
        """Take or keep the claim, and go on with what it is for; without it, stop."""
        try:
            async with asyncio.timeout(self._store.lease_s / 4):  # so that there is time left to stop in
                self._runs_until = await in_thread(self._store.claim)
                self._writes_until = self._runs_until + self._store.lease_s / 4
                if self.runs:
                    await self._clean()
                    await self._tell()
                    await self._take_up()
        except TimeoutError as exc:
            raise LedgerUnavailable("files and batches can't be kept at the moment") from exc
        finally:
            if not self.runs:
                await self._driver.lay_down()

    async def _clean(self) -> None:
        """At first, and from time to time."""
        if time.monotonic() >= self._clean_at:
            self._clean_at = time.monotonic() + LEFTOVER_S
            await in_thread(self._store.discard_leftovers)

    async def _tell(self) -> None:
        """Other gateways how far batches are."""
        moved = [
            (live, run, run.counts.done)
            for live in self._driver.live.values()
            if (run := live.run) is not None and run.counts.done != live.num_told
        ]
        if moved:
            progress = {live.owned.batch.id: (run.counts, run.spent) for live, run, _ in moved}
            await in_thread(self._store.save_progress, progress)
            for live, _, done in moved:
                live.num_told = done

    async def _take_up(self) -> None:
        """What other gateways were given to run, and to cancel."""
        known = set(self._driver.live)  # what ends while it is looked up must not begin again
        for owned in await in_thread(self._store.unfinished):
            if owned.batch.id not in known:
                self._driver.start(owned)
            elif (live := self._driver.live.get(owned.batch.id)) is not None and owned.batch.status == "cancelling":
                await self._driver.cancel(live)

    async def _close_store(self) -> None:
        self._runs_until = 0.0
        await self._driver.lay_down()
        with suppress(LedgerUnavailable):  # in time another gateway sees that nobody renews the claim
            await in_thread(self._store.close)
