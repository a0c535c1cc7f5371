"""What goes wrong under a batch: experts that die or disappear, memory that somebody else wants. No line is left without an end."""

import asyncio

import pytest

from orchestrator.bulk.files import answer_file
from tests.support.batches import responses, write_requests
from tests.support.chat_server import asked, chat_expert
from tests.support.queries import chat_query
from tests.support.service import service_of, write_config


def statuses(folder):
    return {name: answer["status_code"] for name, answer in responses(folder / "out.jsonl").items()}


async def test_an_expert_that_dies_is_loaded_again_and_costs_no_other_line(tmp_path):
    texts = [f"q{i}" for i in range(10)] + ["die"] + [f"q{i}" for i in range(10, 20)]
    source = write_requests(tmp_path / "in.jsonl", [("a", text) for text in texts])
    async with service_of(tmp_path, chat_expert("a", tmp_path), policies={"auto": {}}) as service:
        report = await answer_file(service, source, tmp_path / "out.jsonl")
    assert report.failed == 1
    assert statuses(tmp_path)["r10"] == 502
    assert report.loads["a"] > 1


@pytest.mark.parametrize("model", ["panel/council", "auto"])
async def test_an_expert_that_fails_is_loaded_once_and_the_others_answer(tmp_path, model):
    """Guards against lines that ask it again, and load it again, each time they go on."""
    source = write_requests(tmp_path / "in.jsonl", [(model, f"q{i}") for i in range(3)])
    experts = [chat_expert(name, tmp_path) for name in ("bad", "good", "fine")]
    council = {"experts": ["bad", "good", "fine"], "aggregator": "synthesis", "judge": "good", "quorum": 1}
    sections = {"panels": {"council": council}, "policies": {"auto": {"experts": ["bad", "good"]}}}
    async with service_of(tmp_path, *experts, memory={"budget_gb": 1.5}, **sections) as service:
        async with asyncio.timeout(20):
            report = await answer_file(service, source, tmp_path / "out.jsonl")
    assert report.completed == 3
    assert report.loads["bad"] == 1
    assert max(report.loads.values()) <= 2, "the judge is a member, too"
    assert [name for name, _ in asked(tmp_path)].count("bad") == 3


def starts_at(launch, expert, folder):
    """The expert, whose server fails to start before that launch."""
    counted = f'echo >> {folder}/launches; test $(wc -l < {folder}/launches) -ge {launch} || exit 1; exec "$@"'
    return expert | {"command": ["sh", "-c", counted, "sh", *expert["command"]]}


async def test_lines_wait_for_an_expert_that_cannot_be_loaded_for_a_while(tmp_path):
    source = write_requests(tmp_path / "in.jsonl", [("ab"[i % 2], f"q{i}") for i in range(200)])
    late = starts_at(4, chat_expert("a", tmp_path), tmp_path)
    async with service_of(tmp_path, late, chat_expert("b", tmp_path), memory={"budget_gb": 1.5}) as service:
        async with asyncio.timeout(30):
            report = await answer_file(service, source, tmp_path / "out.jsonl")
    assert (report.completed, report.failed) == (200, 0)
    assert (tmp_path / "launches").read_text().count("\n") == 4


async def test_a_batch_survives_the_removal_of_an_expert_that_it_needs(tmp_path):
    source = write_requests(tmp_path / "in.jsonl", [("ab"[i % 2], f"q{i}") for i in range(200)])
    experts = [chat_expert(name, tmp_path) for name in "ab"]
    memory = {"budget_gb": 1.5}
    async with service_of(tmp_path, *experts, memory=memory) as service:
        work = asyncio.create_task(answer_file(service, source, tmp_path / "out.jsonl"))
        await service.scheduler.warm("a")
        write_config(tmp_path, experts[0], memory=memory)
        await service.reload()
        report = await work
    assert report.completed >= 100
    assert set(statuses(tmp_path).values()) <= {200, 404, 502, 503}
    assert report.total == len(statuses(tmp_path)) == 200


@pytest.mark.slow
async def test_somebody_who_waits_gets_the_memory_and_the_batch_goes_on_after(tmp_path):
    source = write_requests(tmp_path / "in.jsonl", [("a", f"q{i}") for i in range(3000)])
    experts = [chat_expert(name, tmp_path) for name in "ab"]
    async with service_of(tmp_path, *experts, memory={"budget_gb": 1.5}) as service:
        work = asyncio.create_task(answer_file(service, source, tmp_path / "out.jsonl"))
        await service.scheduler.warm("a")
        await service.pipeline.answer(chat_query("I wait", model="b"))
        assert not work.done()
        report = await work
    assert (report.completed, report.loads) == (3000, {"a": 2, "b": 1})
    assert ("b", "I wait") in asked(tmp_path)
