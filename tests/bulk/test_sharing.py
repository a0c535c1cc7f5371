"""Lines shared out among experts that may have only so many of them."""

import pytest

from orchestrator.bulk.files import answer_file
from orchestrator.bulk.lines import Request
from orchestrator.bulk.sharing import share_out
from orchestrator.errors import DataError
from tests.support.batches import responses, write_requests
from tests.support.service import service_of

EXPERTS = [{"name": name, "backend": "echo", "skills": [skill]} for name, skill in (("a", "maths"), ("b", "poetry"))]
RETRY = {"retry_unusable": True}


def shared(worths, places):
    requests = [Request(key, "/v1/chat/completions", b"{}", key) for key in worths]

    async def utilities(request):
        return worths[request.key]

    return share_out(requests, utilities, places)


def answered_by(out):
    return {custom_id: response["body"]["model"] for custom_id, response in responses(out).items()}


async def test_places_go_to_the_lines_that_gain_most_by_them():
    worths = {"x": {"a": 0.9, "b": 0.8}, "y": {"a": 0.8, "b": 0.1}, "z": {"a": 0.7, "b": 0.5}}
    assert await shared(worths, {"a": 1}) == {"x": "b", "y": "a", "z": "b"}
    assert await shared(worths, {"a": 2}) == {"x": "b", "y": "a", "z": "a"}
    assert await shared(worths, {}) == {"x": "a", "y": "a", "z": "a"}


async def test_a_line_goes_only_to_who_may_answer_it_and_one_that_nobody_chooses_for_to_nobody():
    worths = {"x": {"a": 0.9}, "y": {"a": 0.9, "b": 0.1}, "named": {}}
    assert await shared(worths, {"a": 1}) == {"x": "a", "y": "b"}
    assert await shared({}, {"a": 1}) == {}


async def test_too_few_places_are_told():
    with pytest.raises(DataError, match="too few places for the lines: 1 places don't do for 2 queries"):
        await shared({"x": {"a": 0.9}, "y": {"a": 0.9}}, {"a": 1})


async def test_no_expert_of_a_file_has_more_lines_than_its_places_and_those_that_name_it_are_not_counted(tmp_path):
    source = write_requests(tmp_path / "in.jsonl", [("a" if i >= 10 else "auto", f"q{i}") for i in range(12)])
    out = tmp_path / "out.jsonl"
    async with service_of(tmp_path, *EXPERTS) as service:
        report = await answer_file(service, source, out, places={"a": 3})
        assert report.completed == 12
        chosen = answered_by(out)
        assert sorted(chosen[f"r{i}"] for i in range(10)) == ["a"] * 3 + ["b"] * 7
        assert {chosen["r10"], chosen["r11"]} == {"a"}
        assert (await answer_file(service, source, out, places={"a": 3})).asked == 0


async def test_lines_that_may_ask_several_are_left_to_their_policy(tmp_path):
    source = write_requests(tmp_path / "in.jsonl", [("both", f"q{i}") for i in range(3)])
    async with service_of(tmp_path, *EXPERTS, policies={"both": RETRY}) as service:
        await answer_file(service, source, tmp_path / "out.jsonl", places={"a": 0})
    assert set(answered_by(tmp_path / "out.jsonl").values()) == {"a"}


async def test_a_line_that_nobody_can_answer_fails_alone(tmp_path):
    source = write_requests(tmp_path / "in.jsonl", [("auto", "long " * 2000), ("auto", "short")])
    small = [expert | {"context": 1200} for expert in EXPERTS]
    async with service_of(tmp_path, *small) as service:
        report = await answer_file(service, source, tmp_path / "out.jsonl", places={"a": 1})
    assert (report.completed, report.failed) == (1, 1)


async def test_an_expert_that_is_not_there_has_no_places(tmp_path):
    source = write_requests(tmp_path / "in.jsonl", [("auto", "Hello")])
    async with service_of(tmp_path, *EXPERTS) as service:
        with pytest.raises(DataError, match="there is no expert 'c'; expected one of a, b"):
            await answer_file(service, source, tmp_path / "out.jsonl", places={"c": 3})
