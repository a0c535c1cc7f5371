"""A live sweep against a real gateway: what is compared, counted, kept, and told."""

import asyncio
import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from orchestrator.errors import GatewayError, LabelError
from routers.data.outcomes import read_outcomes
from tests.support.bench import gateway_of, sweep, task_file, write_lines
from tests.support.service import openai_expert
from tests.support.upstream import PROMPT_TOKENS, refusing_url, running_upstream, says, status

LINES = tuple({"query": f"Say {i}.", "target": str(i)} for i in range(6))


def replay(folder: Path, name: str, known: range, **fields: object) -> dict[str, object]:
    """An expert that answers the questions of `known` as they should be, and the others with a word."""
    answers = [
        {"query": f"Say {i}.", "rewards": {}, "answers": {name: str(i) if i in known else "pardon"}} for i in range(6)
    ]
    write_lines(folder / f"{name}.jsonl", answers)
    return {"name": name, "backend": "replay", "answers": f"{name}.jsonl", **fields}


async def test_policies_panels_and_experts_are_compared_on_the_same_items(tmp_path):
    experts = [replay(tmp_path, "low", range(4)), replay(tmp_path, "high", range(4, 6))]
    panels = {"both": {"experts": ["low", "high"], "aggregator": "first"}}
    async with gateway_of(tmp_path, *experts, panels=panels) as url:
        rows = await sweep(url, tmp_path / "out", task_file(tmp_path, "exact", *LINES))
    assert [model for _, model in rows] == ["low", "high", "auto", "panel/both"]
    low, high, auto = (rows["mine", name] for name in ("low", "high", "auto"))
    assert [row.reward for row in (low, high, auto)] == pytest.approx([4 / 6, 2 / 6, 4 / 6])
    assert (low.gain, high.gain, auto.gain) == (None, pytest.approx(-2 / 6), 0.0)
    assert high.gain_ci95[0] < high.gain < high.gain_ci95[1]
    assert auto.share == {"low": 1.0}
    assert rows["mine", "panel/both"].n == 6


async def test_its_files_are_a_table_every_answer_and_outcomes(tmp_path):
    async with gateway_of(tmp_path, replay(tmp_path, "low", range(4)), replay(tmp_path, "high", range(6))) as url:
        await sweep(url, tmp_path / "out", task_file(tmp_path, "exact", *LINES))
    outcomes = list(read_outcomes(tmp_path / "out" / "outcomes.jsonl"))
    assert [outcome.rewards for outcome in outcomes[3:5]] == [{"low": 1.0, "high": 1.0}, {"low": 0.0, "high": 1.0}]
    assert (outcomes[4].id, outcomes[4].group, outcomes[4].target) == ("mine/mine-5", "mine", "4")
    assert outcomes[4].answers == {"low": "pardon", "high": "4"}
    cells = pq.read_table(tmp_path / "out" / "live.parquet").to_pylist()
    assert [cell["expert"] for cell in cells if cell["model"] == "auto"] == ["low"] * 6
    assert {cell["reward"] for cell in cells} == {0.0, 1.0}
    assert "| mine | high | 6 | 1.000 |" in (tmp_path / "out" / "live.md").read_text()


async def test_costs_tokens_and_times_are_what_the_gateway_has_on_record(tmp_path):
    async with running_upstream(num_chunks=4) as upstream:
        priced = openai_expert("paid", upstream.base_url, price={"input": 1000, "output": 2000})
        async with gateway_of(tmp_path, priced) as url:
            row = (await sweep(url, tmp_path / "out", task_file(tmp_path, "exact", LINES[0])))["mine", "paid"]
    [cell] = pq.read_table(tmp_path / "out" / "live.parquet").to_pylist()[:1]
    assert row.cost_usd == pytest.approx((PROMPT_TOKENS * 1000 + 4 * 2000) / 1e6)
    assert (cell["prompt_tokens"], cell["completion_tokens"]) == (PROMPT_TOKENS, 4)
    assert 0 < row.ttft_p50_s <= row.latency_p50_s == row.latency_p95_s
    assert row.overhead_p50_ms > 0
    assert upstream.requests[0].body["temperature"] == 0
    assert "has cost 0.0300 USD" in (tmp_path / "out" / "live.md").read_text()  # the policy's answer, too


async def test_nothing_is_asked_twice(tmp_path):
    task = task_file(tmp_path, "exact", *LINES)
    async with running_upstream() as upstream, gateway_of(tmp_path, openai_expert("a", upstream.base_url)) as url:
        first = await sweep(url, tmp_path / "out", task, limit=3)
        assert len(upstream.requests) == 2 * 3
        assert await sweep(url, tmp_path / "out", task, limit=3) == first
        assert len(upstream.requests) == 2 * 3
        await sweep(url, tmp_path / "out", task)
        assert len(upstream.requests) == 2 * 6


RUN = """
import asyncio, sys
from pathlib import Path
from evals.live.running import run_live
from evals.tasks.registry import load_tasks
url, task, out = sys.argv[1:]
asyncio.run(run_live(load_tasks([task]), url=url, key=None, models=["a"], limit=None, concurrency=1, out=Path(out)))
"""


async def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path):
    task, stuck = task_file(tmp_path, "exact", *LINES), asyncio.Event()

    async def hang(exchange):
        stuck.set()
        await asyncio.Event().wait()

    async with running_upstream() as upstream, gateway_of(tmp_path, openai_expert("a", upstream.base_url)) as url:
        upstream.script.extend(["ok", "ok", hang])
        run = (sys.executable, "-c", RUN, url, task, str(tmp_path / "out"))
        process = await asyncio.create_subprocess_exec(*run, cwd=Path(__file__).parents[3])
        await stuck.wait()
        process.kill()
        await process.wait()
        assert not (tmp_path / "out" / "live.md").exists()
        row = (await sweep(url, tmp_path / "out", task, models=["a"]))["mine", "a"]
    assert (row.n, row.errors, len(upstream.requests)) == (6, 0, 2 + 1 + 4)


async def test_a_failing_item_costs_nothing_else_and_is_shown(tmp_path):
    answer = says(lambda body: {"role": "assistant", "content": body["messages"][-1]["content"][4]})

    async def fail_on_3(exchange):
        failing = "Say 3." in str(exchange.body["messages"])
        return await (status(422, message="I can't say 3.") if failing else answer)(exchange)

    async with (
        running_upstream(usual=fail_on_3) as upstream,
        gateway_of(tmp_path, openai_expert("a", upstream.base_url)) as url,
    ):
        task = task_file(tmp_path, "exact", *LINES)
        row = (await sweep(url, tmp_path / "out", task, models=["a"]))["mine", "a"]
        assert (row.n, row.errors, row.reward) == (6, 1, pytest.approx(5 / 6))
        assert "I can't say 3." in row.first_error
        assert f"- mine, a: 1 errors, the first: {row.first_error}" in (tmp_path / "out" / "live.md").read_text()
        assert len(list(read_outcomes(tmp_path / "out" / "outcomes.jsonl"))) == 5
        upstream.usual = answer
        again = (await sweep(url, tmp_path / "out", task, models=["a"]))["mine", "a"]
    assert (again.errors, again.reward, len(upstream.requests)) == (0, 1.0, 7)


async def test_a_model_that_keeps_failing_is_asked_no_more(tmp_path):
    lines = [{"query": f"Say {i}.", "target": str(i)} for i in range(15)]
    async with (
        running_upstream(usual="401") as upstream,
        gateway_of(tmp_path, openai_expert("a", upstream.base_url)) as url,
    ):
        task = task_file(tmp_path, "exact", *lines)
        row = (await sweep(url, tmp_path / "out", task, models=["a"], concurrency=1))["mine", "a"]
    assert (row.errors, row.reward) == (15, 0.0)
    assert len(upstream.requests) <= 10


async def test_an_expert_that_declines_gave_an_unusable_answer(tmp_path):
    calculator = {"name": "sums", "backend": "function", "callable": "orchestrator.experts.calculator:answer"}
    lines = [{"query": "What is 2 + 2?", "target": "4"}, {"query": "Who are you?", "target": "4"}]
    async with gateway_of(tmp_path, calculator) as url:
        row = (await sweep(url, tmp_path / "out", task_file(tmp_path, "exact", *lines), models=["sums"]))[
            "mine", "sums"
        ]
    assert (row.reward, row.unusable, row.errors) == (0.5, 1, 0)
    answers = [outcome.answers for outcome in read_outcomes(tmp_path / "out" / "outcomes.jsonl")]
    assert answers == [{"sums": "4"}, {"sums": None}]


async def test_an_expert_that_cannot_stream_is_asked_for_whole_answers(tmp_path):
    whole = replay(tmp_path, "whole", range(6), capabilities=[])
    streams = replay(tmp_path, "streams", range(0))
    async with gateway_of(tmp_path, whole, streams) as url:
        rows = await sweep(url, tmp_path / "out", task_file(tmp_path, "exact", *LINES))
    assert rows["mine", "auto"].share == {"whole": 1.0}
    assert (rows["mine", "whole"].reward, rows["mine", "whole"].ttft_p50_s) == (1.0, None)
    assert rows["mine", "streams"].ttft_p50_s > 0


async def test_a_judge_is_an_expert_of_the_gateway(tmp_path):
    def reply(body):
        judged = "You grade answers" in body["messages"][0]["content"]
        return {"role": "assistant", "content": "Rating: [[10]]" if judged else "Well."}

    row = {"question_id": 1, "category": "writing", "turns": ["Write.", "Shorter."]}
    task = f"mtbench:a={write_lines(tmp_path / 'question.jsonl', [row])}"
    async with (
        running_upstream(usual=says(reply)) as upstream,
        gateway_of(tmp_path, openai_expert("a", upstream.base_url, price={"input": 1000, "output": 0})) as url,
    ):
        rows = await sweep(url, tmp_path / "out", task, models=["a"])
        with pytest.raises(LabelError, match="'b' is no chat expert; expected one of a"):
            await sweep(url, tmp_path / "out", task.replace(":a=", ":b="), models=["a"])
    assert (rows["mtbench", "a"].reward, len(upstream.requests)) == (1.0, 2 + 2)
    assert rows["mtbench", "a"].cost_usd == pytest.approx(2 * PROMPT_TOKENS / 1000)
    assert "has cost 0.0280 USD, judges included" in (tmp_path / "out" / "live.md").read_text()


async def test_what_a_failing_judge_leaves_ungraded_is_no_loss_of_the_model(tmp_path):
    async with (
        running_upstream(usual="401") as broken,
        gateway_of(tmp_path, {"name": "a", "backend": "echo"}, openai_expert("j", broken.base_url)) as url,
    ):
        row = (await sweep(url, tmp_path / "out", task_file(tmp_path, "judge:j", *LINES), models=["a"]))["mine", "a"]
    assert (row.reward, row.gain, row.ungraded, row.errors) == (None, None, 6, 0)


async def test_retrieval_goes_to_embedding_experts_and_policies(tmp_path):
    folder = tmp_path / "tiny"
    texts = {"d1": "a heat pump moves warmth", "d2": "cats sleep all day", "d3": "shares fell on Monday"}
    write_lines(folder / "corpus.jsonl", [{"_id": id_, "text": text} for id_, text in texts.items()])
    write_lines(folder / "queries.jsonl", [{"_id": "q1", "text": "when do cats sleep " * 50}])
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td2\t1\n")
    hashed = {"name": "hashed", "backend": "echo", "kind": "embedding", "context": 40}
    async with gateway_of(tmp_path, hashed, {"name": "chat", "backend": "echo"}) as url:
        rows = await sweep(url, tmp_path / "out", f"beir={folder}", task_file(tmp_path, "exact", *LINES))
        again = await sweep(url, tmp_path / "again", f"beir={folder}")
    assert {key: row.reward for key, row in rows.items()} == {
        ("beir", "hashed"): 1.0,
        ("mine", "chat"): 1.0,
        ("beir", "auto"): 1.0,
        ("mine", "auto"): 1.0,
    }
    assert [model for _, model in again] == ["hashed", "auto"]
    [outcome] = read_outcomes(tmp_path / "out" / "outcomes-embedding.jsonl")
    assert (outcome.rewards, json.loads(outcome.answers["hashed"])[0]) == ({"hashed": 1.0}, "d2")


async def test_a_gateway_that_is_not_there_is_one_clear_line(tmp_path):
    with refusing_url() as url, pytest.raises(GatewayError) as raised:
        await sweep(url.removesuffix("/v1"), tmp_path / "out", "json")
    assert raised.value.message == f"no gateway answers at {url[:-3]}; start one with `switchyard serve`"


async def test_what_is_no_gateway_is_told(tmp_path):
    async with running_upstream() as upstream:
        with pytest.raises(GatewayError, match="the server answered 405"):
            await sweep(upstream.base_url.removesuffix("/v1"), tmp_path / "out", "json")
    with pytest.raises(GatewayError, match="'localhost' is no address of a gateway; expected http://HOST:PORT"):
        await sweep("localhost", tmp_path / "out", "json")


async def test_a_key_that_is_missing_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("SWITCHYARD_API_KEYS", "sk-test")
    async with gateway_of(tmp_path, {"name": "a", "backend": "echo"}) as url:
        with pytest.raises(GatewayError, match="You didn't provide an API key"):
            await sweep(url, tmp_path / "out", "json")
        assert await sweep(url, tmp_path / "out", "classification", key="sk-test", limit=1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nobody", "the gateway has no model 'nobody'; expected one of chat, vectors, auto"),
        ("vectors", "'vectors' serves embedding requests, and none of the tasks is for those"),
    ],
)
async def test_a_model_that_cannot_be_meant_is_told(tmp_path, model, message):
    experts = ({"name": "chat", "backend": "echo"}, {"name": "vectors", "backend": "echo", "kind": "embedding"})
    async with gateway_of(tmp_path, *experts) as url:
        with pytest.raises(GatewayError, match=message):
            await sweep(url, tmp_path / "out", "json", models=["chat", model])


async def test_a_gateway_that_goes_ends_the_run_and_what_was_answered_is_kept(tmp_path):
    task, answered = task_file(tmp_path, "exact", *LINES), asyncio.Event()
    async with running_upstream(usual="hang") as upstream:
        upstream.script.append("ok")
        async with gateway_of(tmp_path, openai_expert("a", upstream.base_url)) as url:

            def progress(stage, done, total):
                assert (stage, total) == ("mine: a", 6)
                answered.set()

            options = {"models": ["a"], "concurrency": 1, "progress": progress}
            run = asyncio.ensure_future(sweep(url, tmp_path / "out", task, **options))
            await answered.wait()
        with pytest.raises(GatewayError, match="no gateway answers at"):
            await run
    assert (tmp_path / "out" / "live.journal").read_text().count("Hello from upstream.") == 1
