"""A file answered into another: everybody once, every expert loaded once, whatever ends it on the way."""

import asyncio
import json
from collections import Counter, deque

import pytest

from orchestrator.bulk.files import Report, answer_file
from orchestrator.errors import DataError, LabelError
from tests.support.batches import line, responses, said, write_lines, write_requests
from tests.support.chat_server import asked, chat_expert
from tests.support.queries import chat_query
from tests.support.service import openai_expert, service_of
from tests.support.upstream import running_upstream

ECHO = {"name": "a", "backend": "echo"}
COUNCIL = {"experts": ["a", "b"], "aggregator": "synthesis", "judge": "c", "timeout_s": 0.01}
"""A panel whose members have no time, which doesn't count here: nobody waits."""


async def test_every_kind_of_request_is_answered_in_the_order_of_the_file(tmp_path):
    lines = [
        line("chat", text="Hello"),
        line("completion", url="/v1/completions", body={"model": "a", "prompt": "Once"}),
        line("vectors", url="/v1/embeddings", body={"model": "e", "input": "x"}),
        line("ranks", url="/v1/rerank", body={"model": "r", "query": "x", "documents": ["x", "y"]}),
        line("response", url="/v1/responses", body={"model": "auto", "input": "Hi"}),
    ]
    kinds = [{"name": "e", "backend": "echo", "kind": "embedding"}, {"name": "r", "backend": "echo", "kind": "rerank"}]
    out = tmp_path / "out.jsonl"
    async with service_of(tmp_path, ECHO, *kinds) as service:
        report = await answer_file(service, write_lines(tmp_path / "in.jsonl", lines), out)
    assert (report.total, report.completed, report.failed) == (5, 5, 0)
    answers = responses(out)
    assert list(answers) == ["chat", "completion", "vectors", "ranks", "response"]
    assert said(answers["chat"]) == "Hello"
    assert answers["response"]["body"]["output"][0]["content"][0]["text"] == "Hi"
    assert len(answers["vectors"]["body"]["data"][0]["embedding"]) == 64
    assert {answer["status_code"] for answer in answers.values()} == {200}


async def test_each_expert_is_loaded_once_for_any_number_of_queries(tmp_path):
    names = [f"e{i}" for i in range(8)]
    source = write_requests(tmp_path / "in.jsonl", [(names[i * 7 % 8], f"q{i}") for i in range(400)])
    experts = [chat_expert(name, tmp_path) for name in names]
    async with service_of(tmp_path, *experts, memory={"budget_gb": 2.5}) as service:
        report = await answer_file(service, source, tmp_path / "out.jsonl")
    assert report.loads == dict.fromkeys(names, 1)
    assert (report.completed, report.asked) == (400, 400)
    assert Counter(asked(tmp_path)) == Counter((names[i * 7 % 8], f"q{i}") for i in range(400))


async def test_members_of_panels_come_before_their_judge_and_each_is_loaded_once(tmp_path):
    source = write_requests(tmp_path / "in.jsonl", [("panel/council" if i % 2 else "c", f"q{i}") for i in range(40)])
    experts = [chat_expert(name, tmp_path) for name in "abc"]
    async with service_of(tmp_path, *experts, memory={"budget_gb": 1.5}, panels={"council": COUNCIL}) as service:
        report = await answer_file(service, source, tmp_path / "out.jsonl")
    assert report.loads == {"a": 1, "b": 1, "c": 1}
    assert [name for name, _ in asked(tmp_path)] in (
        ["a"] * 20 + ["b"] * 20 + ["c"] * 40,
        ["b"] * 20 + ["a"] * 20 + ["c"] * 40,
    )
    assert "c heard" in said(responses(tmp_path / "out.jsonl")["r1"])


async def test_samples_of_one_expert_are_calls_of_their_own(tmp_path):
    source = write_requests(tmp_path / "in.jsonl", [("climb", "x"), ("climb", "y")])
    climb = {"experts": ["a", "b"], "mode": "cascade", "confidence": "agreement", "samples": 2, "threshold": 0.5}
    async with service_of(
        tmp_path, *(chat_expert(name, tmp_path) for name in "ab"), memory={"budget_gb": 1.5}, policies={"climb": climb}
    ) as service:
        report = await answer_file(service, source, tmp_path / "out.jsonl")
    assert (report.completed, report.loads) == (2, {"a": 1})
    assert Counter(asked(tmp_path)) == {("a", "x"): 2, ("a", "y"): 2}


async def test_interactive_requests_are_answered_meanwhile(tmp_path):
    source = write_requests(tmp_path / "in.jsonl", [("a", f"q{i}") for i in range(100)])
    async with running_upstream() as upstream:
        expert = openai_expert("a", upstream.base_url, limits={"concurrency": 1})
        async with service_of(tmp_path, expert) as service:
            work = asyncio.create_task(answer_file(service, source, tmp_path / "out.jsonl"))
            await upstream.arrived.wait()
            await service.pipeline.answer(chat_query("Me first", model="a"))
            assert len(upstream.requests) < 50
            assert (await work).completed == 100


async def test_a_line_that_fails_costs_no_other_and_is_tried_again_by_the_next_run(tmp_path):
    lines = [
        line("good", "a"),
        line("unknown", "nobody"),
        line("wrong", body={"model": "a", "messages": 3}),
        line("stream", body={"model": "a", "messages": [{"role": "user", "content": "x"}], "stream": True}),
        line("down", "down"),
    ]
    source, out = write_lines(tmp_path / "in.jsonl", lines), tmp_path / "out.jsonl"
    async with running_upstream(script=deque(["400"])) as upstream:
        down = openai_expert("down", upstream.base_url)
        async with service_of(tmp_path, ECHO, down) as service:
            report = await answer_file(service, source, out)
            assert (report.completed, report.failed) == (1, 4)
            answers = responses(out)
            assert {name: answer["status_code"] for name, answer in answers.items()} == {
                "good": 200,
                "unknown": 404,
                "wrong": 400,
                "stream": 400,
                "down": 400,
            }
            assert answers["wrong"]["body"]["error"]["param"] == "messages"
            report = await answer_file(service, source, out)
            assert (report.completed, report.failed, report.asked) == (2, 3, 4)


async def test_what_a_panel_was_told_is_not_asked_again_by_a_later_run(tmp_path):
    source, out = write_requests(tmp_path / "in.jsonl", [("panel/council", "Why?")]), tmp_path / "out.jsonl"
    async with running_upstream(script=deque(["ok", "ok", "hang"])) as upstream:
        experts = [openai_expert(name, upstream.base_url) for name in "abc"]
        async with service_of(tmp_path, *experts, panels={"council": COUNCIL}) as service:
            work = asyncio.create_task(answer_file(service, source, out))
            while len(upstream.requests) < 3:
                upstream.arrived.clear()
                await upstream.arrived.wait()
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            assert not out.exists()
            assert (await answer_file(service, source, out)).completed == 1
        assert len(upstream.requests) == 4, "two members once, and the judge again, who never answered"


async def test_the_same_request_twice_is_two_samples(tmp_path):
    source = write_requests(tmp_path / "in.jsonl", [("a", "Hello"), ("a", "Hello")])
    async with running_upstream() as upstream, service_of(tmp_path, openai_expert("a", upstream.base_url)) as service:
        await answer_file(service, source, tmp_path / "out.jsonl")
        assert len(upstream.requests) == 2


async def test_what_a_run_cost_is_counted_once(tmp_path):
    source = write_requests(tmp_path / "in.jsonl", [("a", "one"), ("panel/pair", "two")])
    async with running_upstream() as upstream:
        priced = [openai_expert(name, upstream.base_url, price={"input": 1e6}) for name in "ab"]
        pair = {"experts": ["a", "b"], "aggregator": "first"}
        async with service_of(tmp_path, *priced, panels={"pair": pair}) as service:
            report = await answer_file(service, source, tmp_path / "out.jsonl")
    assert report.cost_usd == pytest.approx(7.0 * len(upstream.requests))


async def test_an_expert_that_cannot_be_loaded_fails_its_own_lines_only(tmp_path):
    broken = {"name": "broken", "backend": "command", "command": ["python", "-c", "raise SystemExit(3)", "{port}"]}
    source = write_requests(tmp_path / "in.jsonl", [("broken", "x"), ("a", "y"), ("broken", "z")])
    async with service_of(tmp_path, broken, ECHO) as service:
        report = await answer_file(service, source, tmp_path / "out.jsonl", patience_s=0.0)
    assert (report.completed, report.failed) == (1, 2)
    answers = responses(tmp_path / "out.jsonl")
    assert answers["r0"]["status_code"] == 502
    assert "broken: not_loaded" in answers["r2"]["body"]["error"]["message"]


async def test_every_fault_of_a_file_is_told_and_nobody_is_asked(tmp_path):
    source = write_lines(tmp_path / "in.jsonl", [line("a"), "no", line("a"), *["no"] * 200])
    async with service_of(tmp_path, ECHO) as service:
        with pytest.raises(DataError) as told:
            await answer_file(service, source, tmp_path / "out.jsonl")
    lines = told.value.message.splitlines()
    assert lines[0] == f"{source}:2: This line is not parseable as valid JSON."
    assert lines[1] == f"{source}:3: The custom_id 'a' was used in an earlier line."
    assert lines[-1] == "and at least 80 more"
    assert not (tmp_path / "out.jsonl.journal").exists()


@pytest.mark.parametrize("out", ["in.jsonl", "folder", "nowhere/out.jsonl", "precious.jsonl"])
async def test_files_that_cannot_be_written_are_told_before_anybody_is_asked(tmp_path, out):
    source = write_requests(tmp_path / "in.jsonl", [("a", "x")])
    (tmp_path / "folder").mkdir()
    (tmp_path / "precious.jsonl").write_text("mine")
    async with service_of(tmp_path, ECHO) as service:
        with pytest.raises(DataError, match="expected"):
            await answer_file(service, source, tmp_path / out)
    assert (tmp_path / "precious.jsonl").read_text() == "mine"


async def test_one_run_at_a_time_writes_an_output(tmp_path):
    source = write_requests(tmp_path / "in.jsonl", [("a", "x")])
    async with (
        running_upstream(script=deque(["hang"])) as upstream,
        service_of(tmp_path, openai_expert("a", upstream.base_url)) as service,
    ):
        work = asyncio.create_task(answer_file(service, source, tmp_path / "out.jsonl"))
        await upstream.arrived.wait()
        with pytest.raises(LabelError, match="another run"):
            await answer_file(service, source, tmp_path / "out.jsonl")
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


def test_the_report_is_json(tmp_path):
    report = Report(tmp_path / "o", 3, 2, 1, 3, 0.5, 1.0, {"a": 1})
    assert json.loads(json.dumps(report.to_json()))["loads"] == {"a": 1}
