import numpy as np
import pytest

from orchestrator.aggregators.registry import make_aggregator
from orchestrator.aggregators.tokens.contrast import Contrast, Contrasting
from orchestrator.errors import ConfigError, NoQuorum
from tests.aggregators.tokens.test_seating import table

STRONG, WEAK = np.log([0.48, 0.47, 0.05]), np.log([0.7, 0.1, 0.2])


def test_what_only_the_strong_one_holds_likely_wins():
    assert Contrasting().fuse(np.array([STRONG, WEAK])).argmax() == 1


def test_without_a_contrast_the_strong_one_decides():
    np.testing.assert_allclose(Contrasting(beta=0.0, alpha=0.0).fuse(np.array([STRONG, WEAK])), STRONG, atol=1e-9)


def test_what_the_strong_one_holds_implausible_never_comes():
    assert np.isneginf(Contrasting(alpha=0.2).fuse(np.array([STRONG, WEAK]))[2])


def test_weights_are_those_of_the_contrast():
    assert Contrasting(beta=0.5).weights.tolist() == [1.5, -0.5]


async def test_the_answer_rests_on_the_two_alone():
    combined = await Contrast(weak="small").combine(table("small", "pirate", "captain"))
    assert combined.who == ("pirate", "small")


async def test_one_alone_is_no_quorum():
    with pytest.raises(NoQuorum, match="tokens of 2 experts"):
        await Contrast().combine(table("small"))


@pytest.mark.parametrize("wrong", [{"beta": -1}, {"alpha": 1.5}])
def test_parameters_that_make_no_sense_are_errors_of_the_configuration(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        make_aggregator("contrast", parameters=wrong)
