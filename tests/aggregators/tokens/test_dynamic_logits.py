import numpy as np
import pytest

from orchestrator.aggregators.registry import make_aggregator
from orchestrator.aggregators.tokens.dynamic_logits import DynamicLogits, Steering
from orchestrator.errors import ConfigError, NoQuorum
from tests.aggregators.tokens.test_seating import table

PLAIN = np.log([0.5, 0.3, 0.2])
SPECIAL = np.log([0.1, 0.1, 0.8])


def test_a_large_model_is_moved_as_its_kin_was():
    large = np.log([0.4, 0.5, 0.1])
    fused = np.exp(Steering(3).fuse(np.array([large, PLAIN, SPECIAL])))
    assert fused[2] > 0.5
    assert fused.sum() == pytest.approx(1.0)


def test_who_has_nothing_special_to_say_of_this_token_moves_nothing():
    np.testing.assert_allclose(Steering(3).fuse(np.array([SPECIAL, PLAIN, PLAIN])), SPECIAL, atol=1e-9)


def test_weights_are_the_mean_over_the_text():
    rule = Steering(4)
    rule.fuse(np.array([PLAIN, PLAIN, SPECIAL, PLAIN]))
    rule.fuse(np.array([PLAIN, PLAIN, PLAIN, PLAIN]))
    large, base, special, plain = rule.weights
    assert (large, plain) == (1.0, 0.0)
    assert base == -special
    assert 0.1 < special < 0.5


def test_no_weights_are_larger_than_allowed():
    rule = Steering(3, at_most=0.25)
    rule.fuse(np.array([PLAIN, PLAIN, SPECIAL]))
    np.testing.assert_allclose(rule.weights, [1.0, -0.25, 0.25])


async def test_without_a_specialist_there_is_no_quorum():
    with pytest.raises(NoQuorum, match="tokens of 3 experts"):
        await DynamicLogits().combine(table("small", "pirate", "remote"))


async def test_nobody_takes_the_place_of_a_large_one_without_tokens():
    with pytest.raises(NoQuorum, match="remote neither runs by llama"):
        await DynamicLogits(large="remote").combine(table("remote", "small", "pirate", "captain"))


async def test_the_answer_rests_on_the_large_one_its_base_and_the_specialists():
    combined = await DynamicLogits(large="other", base="small").combine(table("small", "pirate", "captain", "other"))
    assert combined.who == ("other", "small", "pirate", "captain")
    assert combined.why == "next tokens of other, moved as small is by pirate, captain"


def test_a_bound_that_makes_no_sense_is_an_error_of_the_configuration():
    with pytest.raises(ConfigError, match="at_most"):
        make_aggregator("dynamic_logits", parameters={"at_most": 0})
