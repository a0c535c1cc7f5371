"""A mixture built from examples: where it is cut, what it says in each region, what is asked for that, and what is kept."""

import json
from collections import deque
from pathlib import Path

import pytest

from orchestrator.errors import LabelError
from orchestrator.labelling.collecting import Settings
from orchestrator.mixtures.artifact import load_mixture
from orchestrator.mixtures.building import Job, build
from orchestrator.mixtures.instructions import nearest_queries
from routers.artifact import ArtifactError
from tests.support.mixtures import ENCODER, mixture
from tests.support.service import openai_expert, service_of
from tests.support.upstream import Upstream, running_upstream, says

COUNTRIES = ("Peru", "France", "Kenya", "Japan", "Chile", "Ghana", "Spain", "India", "Cuba", "Iran", "Mali", "Oman")
DIGITS, CITY = "Reply with the digits alone.", "Reply with the city alone."


def job_of(folder: Path, **fields) -> Job:
    rows = [{"query": f"What is {a} + {a}?", "target": f"sum {a}"} for a in range(12)]
    rows += [{"query": f"Name the capital city of {country}", "target": f"city {country}"} for country in COUNTRIES]
    (folder / "o.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Job(**{"data": folder / "o.jsonl", "out": folder / "mix", "regions": 2, **fields})


def searching(folder: Path, **fields) -> Job:
    return job_of(folder, **{"expert": "a", "candidates": 1, "instructions": (DIGITS,), **fields})


def obedient(body):
    """Right where the instruction fits the question; asked for an instruction, it always writes the one for cities."""
    system, question = body["messages"][0]["content"], body["messages"][-1]["content"]
    if "<question" in question:
        said = CITY
    elif question.startswith("What is"):
        said = f"sum {question.split()[2]}" if system == DIGITS else "no idea"
    else:
        said = f"city {question.split()[-1]}" if system == CITY else "no idea"
    return {"role": "assistant", "content": said}


def expert(upstream: Upstream):
    return openai_expert("a", upstream.base_url, price={"input": 1e5, "output": 1e5})


def by_region(folder: Path):
    """What is said before a sum, and before a capital."""
    loaded = load_mixture(folder, []).mixture
    vectors = ENCODER.encode(["What is 50 + 50?", "Name the capital city of Nepal"])
    return tuple(loaded.prompt_for(vector, count=3, room_tokens=500) for vector in vectors)


async def test_without_an_expert_all_regions_share_an_instruction(tmp_path):
    built = await build(job_of(tmp_path), ENCODER)
    sums, capitals = by_region(tmp_path / "mix")
    assert sums.instruction == capitals.instruction == built.regions[0].instruction
    assert {each.answer.split()[0] for each in sums.demonstrations} == {"sum"}
    assert {each.answer.split()[0] for each in capitals.demonstrations} == {"city"}
    assert (built.num_asked, built.chosen) == (0, (None, None))
    assert "--expert NAME chooses one for each" in built.notes[-1]


async def test_a_single_given_instruction_is_taken(tmp_path):
    await build(job_of(tmp_path, instructions=(DIGITS,)), ENCODER)
    assert by_region(tmp_path / "mix")[1].instruction == DIGITS


async def test_each_region_gets_the_instruction_that_earns_most_there(tmp_path):
    async with running_upstream(usual=says(obedient)) as upstream, service_of(tmp_path, expert(upstream)) as service:
        built = await build(searching(tmp_path), ENCODER, service)
    sums, capitals = by_region(tmp_path / "mix")
    assert (sums.instruction, capitals.instruction) == (DIGITS, CITY)
    assert sum(region.demonstrations for region in built.regions) == 24, "what was held out is shown, too"
    for region, chosen in zip(built.regions, built.chosen, strict=True):
        assert chosen.default_reward == 0.0 < chosen.reward == region.reward <= 1.0
        assert region.validated < built.num_held_out


async def test_nothing_held_out_is_shown_while_instructions_are_tried(tmp_path):
    async with running_upstream(usual=says(obedient)) as upstream, service_of(tmp_path, expert(upstream)) as service:
        built = await build(searching(tmp_path), ENCODER, service)
    trials = [call.body["messages"] for call in upstream.requests if call.body["messages"][0]["content"] == DIGITS]
    tried = {messages[-1]["content"] for messages in trials}
    shown = {turn["content"] for messages in trials for turn in messages[1:-1] if turn["role"] == "user"}
    assert len(tried) == built.num_held_out
    assert shown.isdisjoint(tried)


async def test_a_second_build_asks_nobody_and_builds_the_same(tmp_path):
    async with running_upstream(usual=says(obedient)) as upstream, service_of(tmp_path, expert(upstream)) as service:
        first = await build(searching(tmp_path), ENCODER, service)
        second = await build(searching(tmp_path), ENCODER, service)
    assert (second.num_asked, second.cost_usd, second.fingerprint) == (0, first.cost_usd, first.fingerprint)
    assert len(upstream.requests) == first.num_asked


@pytest.mark.parametrize("calls", [8, 20])
async def test_there_are_no_more_calls_than_allowed(tmp_path, calls):
    async with running_upstream(usual=says(obedient)) as upstream, service_of(tmp_path, expert(upstream)) as service:
        built = await build(searching(tmp_path, max_calls=calls), ENCODER, service)
    assert len(upstream.requests) <= calls
    assert {region.validated for region in built.regions} == {(calls - 2) // 6}


async def test_too_few_calls_are_refused_before_anybody_is_asked(tmp_path):
    async with running_upstream() as upstream, service_of(tmp_path, expert(upstream)) as service:
        with pytest.raises(LabelError, match="--max-calls 7: 2 regions take at least 8"):
            await build(searching(tmp_path, max_calls=7), ENCODER, service)
    assert not upstream.requests


async def test_the_budget_ends_it_and_more_continues_it(tmp_path):
    async with running_upstream(usual=says(obedient)) as upstream, service_of(tmp_path, expert(upstream)) as service:
        dear = {"settings": Settings(8, 0.0), "candidates": 0}
        with pytest.raises(LabelError, match="--max-cost-usd is spent before all instructions were tried"):
            await build(searching(tmp_path, max_cost_usd=18.0, **dear), ENCODER, service)
        assert not (tmp_path / "mix").exists()
        num_asked = len(upstream.requests)
        built = await build(searching(tmp_path, **dear), ENCODER, service)
    assert num_asked > 0
    assert built.num_asked == len(upstream.requests) - num_asked


async def test_an_expert_that_fails_ends_it_with_its_reason(tmp_path):
    async with (
        running_upstream(usual=says(obedient), script=deque(["ok", "ok", *["401"] * 80])) as upstream,
        service_of(tmp_path, expert(upstream)) as service,
    ):
        with pytest.raises(LabelError, match=r"a could not be asked \d+ times: "):
            await build(searching(tmp_path), ENCODER, service)
    assert not (tmp_path / "mix").exists()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"expert": "nobody"}, "'nobody' is no expert"),
        ({"expert": "pirate"}, "--expert pirate: expected an expert that chats and has no base itself"),
        ({"reward": "exactly"}, "'exactly' is no reward"),
        ({"instructions": ("1 " * 300,)}, r"the instruction '1 1 .*' takes \d+ tokens, expected 256"),
    ],
)
async def test_what_can_not_be_done_is_told(tmp_path, fields, reason):
    pirate = {"name": "pirate", "backend": "persona", "base": "a", "system": "Arr."}
    async with service_of(tmp_path, {"name": "a", "backend": "echo"}, pirate) as service:
        with pytest.raises(LabelError, match=reason):
            await build(searching(tmp_path, **fields), ENCODER, service)


async def test_too_few_examples_to_hold_some_out_are_told(tmp_path):
    job = searching(tmp_path)
    job.data.write_text('{"query": "What is 1 + 1?", "target": "2"}')
    async with service_of(tmp_path, {"name": "a", "backend": "echo"}) as service:
        with pytest.raises(LabelError, match="1 examples are too few to hold some out"):
            await build(job, ENCODER, service)


async def test_several_instructions_need_an_expert(tmp_path):
    with pytest.raises(LabelError, match="there are 2 instructions to choose from, and no --expert"):
        await build(job_of(tmp_path, instructions=(DIGITS, CITY)), ENCODER)


async def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "mix").mkdir()
    (tmp_path / "mix" / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match="is there and is no artifact"):
        await build(job_of(tmp_path), ENCODER)


def test_a_region_is_tried_on_its_own_queries_before_its_neighbours():
    texts = ["Name the capital city of Nepal", "What is 7 + 9?", "Name the capital city of Togo", "What is 8 + 8?"]
    order = [nearest_queries(mixture(), region, ENCODER.encode(texts), 3).tolist() for region in (0, 1)]
    assert [set(found[:2]) for found in order] == [{1, 3}, {0, 2}]
    assert [len(found) for found in order] == [3, 3]


def test_a_region_with_queries_enough_is_tried_on_its_own_alone():
    sums = ENCODER.encode([*(f"What is {a} + 9?" for a in range(6)), "Name the capital city of Nepal"])
    assert sorted(nearest_queries(mixture(), 0, sums, 32)) == [0, 1, 2, 3, 4, 5]
