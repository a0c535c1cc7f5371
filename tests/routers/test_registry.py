import pytest

from routers.base import ExpertCard
from routers.encoders import HashedEncoder
from routers.registry import make_router

CARDS = (ExpertCard("a"), ExpertCard("b"))


def make(type, encoder=None, **parameters):
    return make_router(type, experts=CARDS, encoder=encoder, parameters=parameters)


def test_an_unknown_type_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'skils', expected one of random, cheapest, fixed, best_single, skills"):
        make("skils")


def test_an_unknown_parameter_lists_the_accepted_ones():
    with pytest.raises(ValueError, match=r"unknown parameter 'sed' of a router of type 'random', which accepts: seed"):
        make("random", sed=1)


@pytest.mark.parametrize("name", ["experts", "encoder", "self"])
def test_what_the_registry_gives_is_no_parameter(name):
    with pytest.raises(ValueError, match=f"unknown parameter '{name}' .*which accepts: vocabulary"):
        make_router("skills", experts=CARDS, encoder=HashedEncoder(), parameters={name: 1})


def test_an_ill_typed_parameter_is_named():
    with pytest.raises(ValueError, match=r"parameter 'seed' of a router of type 'random': .*valid integer.*got 'abc'"):
        make("random", seed="abc")


def test_parameters_get_the_declared_types(tmp_path):
    assert make("fixed", order=["b", "a"]).order == ("b", "a")
    (tmp_path / "o.jsonl").touch()
    assert make("best_single", data=str(tmp_path / "o.jsonl")).data == tmp_path / "o.jsonl"


def test_a_file_that_is_not_there_is_a_wrong_parameter():
    with pytest.raises(ValueError, match=r"parameter 'data' .*does not point to a file, got 'nowhere.jsonl'"):
        make("best_single", data="nowhere.jsonl")


def test_a_router_that_encodes_needs_an_encoder():
    with pytest.raises(ValueError, match="'skills' needs an encoder"):
        make("skills")


def test_it_is_not_fitted_yet():
    assert not hasattr(make("random"), "experts_")
