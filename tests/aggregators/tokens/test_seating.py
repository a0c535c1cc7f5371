import asyncio

import pytest

from orchestrator.aggregators.tokens.logits import Logits
from orchestrator.aggregators.tokens.seating import in_roles, seats_of
from orchestrator.config import Config
from orchestrator.errors import ExpertError, ExpertRejected, NoQuorum
from orchestrator.experts.render import Ending
from orchestrator.types import Endpoint, Usage
from tests.support.panels import make_table

LLAMA = {"backend": "llamacpp", "model": {"path": "m.gguf"}}
FLEET = [
    {"name": "small", **LLAMA},
    {"name": "vectors", "kind": "embedding", **LLAMA},
    {"name": "pirate", "backend": "persona", "base": "small", "system": "You are a pirate."},
    {"name": "captain", "backend": "persona", "base": "pirate", "system": "You command."},
    {"name": "stranger", "backend": "persona", "base": "small", "identity": "synthesised"},
    {"name": "other", **LLAMA},
    {"name": "remote", "backend": "echo"},
]


def table(*members, **fields):
    specs = Config.model_validate({"version": 1, "experts": FLEET}).by_name
    return make_table(dict.fromkeys(members, "unused"), specs=specs, question="Hi", **fields)


async def text_of(combined):
    return "".join([piece async for piece in combined.pieces(Ending(Usage()))])


def test_a_persona_sits_on_its_model_with_its_prompt():
    small, pirate = seats_of(table("small", "pirate"), ("small", "pirate"), 2)
    assert (small.host, pirate.host) == ("small", "small")
    assert small.messages == [{"role": "user", "content": "Hi"}]
    assert pirate.messages == [{"role": "system", "content": "You are a pirate."}, {"role": "user", "content": "Hi"}]


def test_who_has_no_tokens_is_missing_with_the_reason():
    sitting = table("small", "remote", "pirate", "stranger", "vectors")
    assert [seat.member for seat in seats_of(sitting, sitting.members, 2)] == ["small", "pirate"]
    assert sitting.missing.keys() == {"remote", "stranger", "vectors"}
    assert "llama.cpp" in sitting.missing["remote"]


def test_too_few_with_tokens_are_no_quorum():
    with pytest.raises(NoQuorum, match="tokens of 2 experts are needed, and 1 have any"):
        seats_of(table("small", "remote"), ("small", "remote"), 2)


def test_roles_come_first_and_are_filled_in_the_panels_order():
    sitting = table("small", "pirate", "other")
    assert in_roles(sitting, None, None) == ["small", "pirate", "other"]
    assert in_roles(sitting, "other", None) == ["other", "small", "pirate"]
    assert in_roles(sitting, None, "small") == ["pirate", "small", "other"]


def test_a_role_whose_expert_is_not_there_is_no_quorum():
    with pytest.raises(NoQuorum, match="absent, without whom no token can be chosen"):
        in_roles(table("small", "pirate"), "absent")


async def test_parameters_that_fused_tokens_cannot_have_are_refused_before_anybody_is_seated():
    sitting = table("small", "pirate", body={"logit_bias": {"1": 1}})
    with pytest.raises(ExpertRejected, match="logit_bias"):
        await Logits().combine(sitting)


async def test_a_budget_that_has_no_room_for_all_is_no_quorum_and_seats_nobody():
    sitting = table("small", "pirate", calls=1, endpoint=Endpoint("http://127.0.0.1:1/v1", "token"))
    with pytest.raises(NoQuorum, match="budget of 1 calls"):
        await text_of(await Logits().combine(sitting))
    assert sitting.colleagues.seated == []


async def test_an_expert_without_a_server_fails_the_text():
    sitting = table("small", "other")
    with pytest.raises(ExpertError, match="is not in memory"):
        await text_of(await Logits().combine(sitting))
    assert sitting.colleagues.seated == []


@pytest.mark.parametrize("limit", [{"timeout_s": 0.05}, {"seconds": 0.05}])
async def test_a_seat_that_never_comes_free_is_waited_for_as_long_as_a_round_and_the_others_are_given_back(limit):
    """Where models don't fit into memory together, the second waits for what the first holds."""
    server = Endpoint("http://127.0.0.1:1/v1", "token")
    sitting = table("small", "other", endpoint=server, full=frozenset({"small"}), **limit)
    with pytest.raises(NoQuorum, match="small had no seat within"):
        await asyncio.wait_for(text_of(await Logits().combine(sitting)), 5)
    assert sitting.colleagues.seated == []
