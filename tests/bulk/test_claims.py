"""Which gateway runs the batches: one at a time, another when it is gone, and none whose folder is another."""

import time

import pytest

from orchestrator.bulk.objects import BatchRequest, Owned, entered, new_batch
from orchestrator.bulk.store import Store
from orchestrator.errors import LedgerUnavailable, NoCapacity
from orchestrator.types import ANONYMOUS
from tests.support.batches import URL
from tests.support.postgres import KINDS, database_url

LEASE_S = 2.0


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def stores(kind, tmp_path):
    """Of two gateways."""
    url = database_url(kind, tmp_path)
    stores = [Store(url, tmp_path / "batches", lease_s=LEASE_S) for _ in range(2)]
    for store in stores:
        store.open()
    yield stores
    for store in stores:
        store.close()


def runs(store):
    return store.claim() > time.monotonic()


def test_one_gateway_at_a_time_runs_batches(stores):
    first, second = stores
    assert [runs(first), runs(second), runs(first), runs(second)] == [True, False, True, False]


def test_one_that_ends_hands_over_at_once(stores):
    first, second = stores
    assert runs(first)
    first.close()
    assert runs(second)
    first.open()
    assert not runs(first)


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
def test_one_that_is_gone_is_followed_by_another_and_writes_no_more(stores):
    first, second = stores
    assert runs(first)
    batch = new_batch(BatchRequest("file-1", URL, "24h"), now=0.0)
    first.add_batch(Owned(batch, ANONYMOUS))
    until = time.monotonic() + 10
    while not runs(second):
        assert time.monotonic() < until
        time.sleep(0.02)
    with pytest.raises(LedgerUnavailable, match="another gateway"):
        first.save_batch(Owned(entered(batch, "failed", now=0.0), ANONYMOUS))
    assert [owned.batch.status for owned in second.unfinished()] == ["validating"]
    assert not runs(first)


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
def test_it_is_given_up_before_another_can_have_it(stores):
    store = stores[0]
    began = time.monotonic()
    assert began < store.claim() <= time.monotonic() + LEASE_S / 2


def test_a_folder_that_is_not_the_others_is_refused_where_there_may_be_several_machines(tmp_path):
    url = database_url("postgres", tmp_path)
    for folder, expected in (("shared", None), ("own", NoCapacity), ("shared", None)):
        store = Store(url, tmp_path / folder)
        if expected is None:
            store.open()
            store.close()
        else:
            with pytest.raises(expected, match=r"`batches\.folder` must be one folder for all of them"):
                store.open()
