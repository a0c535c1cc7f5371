"""Slots: nobody holds more than their share, and whoever holds fewest is next."""

from orchestrator.bulk.dealing import Dealer


async def test_one_key_leaves_some_for_others():
    dealer = Dealer(3, most=2)
    alice = [dealer.take("alice") for _ in range(4)]
    bob = dealer.take("bob")
    assert [slot.done() for slot in (*alice, bob)] == [True, True, False, False, True]


async def test_the_next_goes_to_whoever_holds_fewest_in_the_order_of_their_own():
    dealer = Dealer(2, most=2)
    first, second, third = (dealer.take("alice") for _ in range(3))
    bobs = [dealer.take("bob") for _ in range(2)]
    dealer.give("alice", first)
    assert (bobs[0].done(), third.done()) == (True, False)
    dealer.give("alice", second)
    assert (third.done(), bobs[1].done()) == (True, False)


async def test_who_waits_no_more_is_dealt_nothing():
    dealer = Dealer(1, most=1)
    first, second, third = (dealer.take("alice") for _ in range(3))
    dealer.give("alice", second)
    dealer.give("alice", first)
    assert third.done()
    dealer.give("alice", third)
    assert dealer.take("bob").done()
