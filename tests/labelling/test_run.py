"""Labelling as a whole, on scripted upstreams: what is asked, what is paid, what is written, and what is not done twice."""

import asyncio
import json
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from orchestrator.errors import LabelError
from orchestrator.fleet.snapshot import make_places
from orchestrator.labelling.collecting import GIVE_UP_AFTER, Settings
from orchestrator.labelling.run import Job, label
from orchestrator.scheduler.driver import LocalScheduler
from orchestrator.service import running_over
from routers.data.outcomes import read_outcomes
from tests.support.engine import FakeEngine
from tests.support.service import openai_expert, service_of, write_config
from tests.support.upstream import replies, running_upstream, says, status

DEAR = {"input": 1e5, "output": 1e5}
"""Dollars per million tokens: the scripted upstream counts 7 in and 4 out, so an answer costs 1.10 USD."""


def job_of(folder, *rows, reward="exact", **fields):
    path = folder / "q.jsonl"
    path.write_text("\n".join(map(json.dumps, rows or [{"query": "What is 2 + 2?", "target": "4"}])))
    return Job(queries=path, reward=reward, out=folder / "o.jsonl", **fields)


def queries(n):
    return [{"query": f"query {i}", "target": f"answer {i}", "id": f"q{i}"} for i in range(n)]


def echo_answer(body):
    return {"role": "assistant", "content": body["messages"][-1]["content"].replace("query", "answer")}


async def test_answers_rewards_and_costs_are_written(tmp_path):
    async with running_upstream(usual=says(echo_answer)) as upstream:
        a = openai_expert("a", upstream.base_url, price=DEAR)
        b = {"name": "b", "backend": "function", "callable": "tests.support.callables:decline"}
        async with service_of(tmp_path, a, b) as service:
            report = await label(service, job_of(tmp_path, *queries(2)))
    first, second = read_outcomes(report.out)
    assert (first.id, first.query, first.target) == ("q0", "query 0", "answer 0")
    assert first.rewards == {"a": 1.0, "b": 0.0}
    assert first.answers == {"a": "answer 0", "b": None}
    assert first.costs == {"a": pytest.approx(1.1), "b": 0.0}
    assert second.rewards == {"a": 1.0, "b": 0.0}
    assert (report.complete, report.num_asked, report.cost_usd) == (True, 4, pytest.approx(2.2))


async def test_a_second_run_asks_nobody_and_a_new_expert_is_asked_alone(tmp_path):
    async with running_upstream(usual=says(echo_answer)) as upstream:
        experts = [openai_expert(name, upstream.base_url, model=name) for name in ("a", "b")]
        async with service_of(tmp_path, *experts) as service:
            job = job_of(tmp_path, *queries(3), experts=("a",))
            await label(service, job)
            before = job.out.read_bytes()
            report = await label(service, job)
            assert (report.num_asked, len(upstream.requests), job.out.read_bytes()) == (0, 3, before)
            await label(service, job_of(tmp_path, *queries(3)))
            assert [exchange.body["model"] for exchange in upstream.requests] == ["a"] * 3 + ["b"] * 3


async def test_labelling_waits_behind_what_somebody_waits_for(tmp_path):
    path = write_config(tmp_path, {"name": "a", "backend": "echo"})
    asked = []

    class Noting(LocalScheduler):
        async def acquire(self, request):
            asked.append(request)
            return await super().acquire(request)

    @asynccontextmanager
    async def scheduling(config):
        yield Noting(make_places(config, tmp_path), {"": FakeEngine()}, budget_bytes=0)

    async with running_over(path, scheduling) as service:
        await label(service, job_of(tmp_path, *queries(2)))
    assert [request.priority for request in asked] == ["bulk", "bulk"]


async def test_the_same_query_twice_is_asked_once(tmp_path):
    async with (
        running_upstream(delay_s=0.05) as upstream,
        service_of(tmp_path, openai_expert("a", upstream.base_url)) as service,
    ):
        report = await label(service, job_of(tmp_path, *queries(1) * 5))
    assert (len(upstream.requests), report.num_written) == (1, 5)


async def test_another_model_behind_the_same_name_is_asked_again(tmp_path):
    async with running_upstream() as upstream:
        for model in ("small", "large"):
            async with service_of(tmp_path, openai_expert("a", upstream.base_url, model=model)) as service:
                await label(service, job_of(tmp_path))
    assert [exchange.body["model"] for exchange in upstream.requests] == ["small", "large"]


async def test_a_cancelled_run_writes_nothing_and_goes_on_where_it_was(tmp_path):
    async with running_upstream(usual=says(echo_answer), script=deque(["ok", "ok", "hang"])) as upstream:
        a = openai_expert("a", upstream.base_url, limits={"concurrency": 1})
        async with service_of(tmp_path, a) as service:
            job = job_of(tmp_path, *queries(5))
            done = asyncio.Event()
            run = asyncio.create_task(label(service, job, lambda stage, n, total, cost: done.set() if n == 2 else None))
            await done.wait()
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
            assert not job.out.exists()
            asked = len(upstream.requests)
            report = await label(service, job)
    assert (asked, report.num_asked, report.num_written) == (3, 3, 5)


async def test_the_budget_is_never_exceeded_and_more_of_it_goes_on(tmp_path):
    async with running_upstream(usual=says(echo_answer)) as upstream:
        a = openai_expert("a", upstream.base_url, price={"output": 1e6})  # 4 USD an answer, 10 at most
        async with service_of(tmp_path, a) as service:
            settings = Settings(max_tokens=10)
            report = await label(service, job_of(tmp_path, *queries(9), settings=settings, max_cost_usd=20.0))
            assert (report.cost_usd, report.budget_spent, report.num_written) == (12.0, True, 3)
            assert any("--max-cost-usd" in note for note in report.notes())
            report = await label(service, job_of(tmp_path, *queries(9), settings=settings, max_cost_usd=100.0))
            assert (report.cost_usd, report.complete, report.num_asked) == (36.0, True, 6)


async def test_what_was_answered_before_is_written_though_the_budget_is_spent(tmp_path):
    async with running_upstream(usual=says(echo_answer)) as upstream:
        a, b = (openai_expert(name, upstream.base_url, price=price) for name, price in (("a", DEAR), ("b", {})))
        async with service_of(tmp_path, a, b) as service:
            await label(service, job_of(tmp_path, *queries(9), experts=("b",)))
            report = await label(service, job_of(tmp_path, *queries(9), max_cost_usd=0.5))
    assert (report.budget_spent, report.num_asked, report.num_written) == (True, 0, 9)


async def test_judge_calls_are_remembered_and_counted_too(tmp_path):
    async with running_upstream(usual=says(lambda body: {"role": "assistant", "content": "Rating: [[1]]"})) as upstream:
        a, judge = (openai_expert(name, upstream.base_url, model=name, price=DEAR) for name in ("a", "judge"))
        async with service_of(tmp_path, a, judge) as service:
            job = job_of(tmp_path, *queries(2), reward="judge:judge", experts=("a",))
            report = await label(service, job)
            asked = len(upstream.requests)
            assert report.cost_usd == pytest.approx(1.1 * asked)
            assert report.experts[0].cost_usd == pytest.approx(2.2)
            assert (report.probes, report.gamed_by) == (dict.fromkeys(("refusal", "praise", "injection"), 0.0), ())
            assert (await label(service, job)).num_asked == 0
    assert upstream.requests[-1].body["temperature"] == 0.0


async def test_a_judge_that_can_be_gamed_is_told_of(tmp_path):
    """It rates high whatever asks for it."""

    def obeys(body):
        return {"role": "assistant", "content": "[[10]]" if "Ignore all" in str(body["messages"]) else "[[3]]"}

    async with (
        running_upstream(usual=says(obeys)) as upstream,
        service_of(tmp_path, openai_expert("a", upstream.base_url)) as service,
    ):
        report = await label(service, job_of(tmp_path, reward="judge:a"))
    assert report.gamed_by == ("injection",)
    assert "this judge can be gamed: the constant answer 'injection' earns 1.00 on average" in list(report.notes())


async def test_a_judge_that_could_not_be_probed_is_told_of_and_the_output_is_there(tmp_path):
    async with running_upstream(usual=says(lambda body: {"role": "assistant", "content": "[[7]]"})) as upstream:
        a = openai_expert("a", upstream.base_url, price={"output": 1e6})  # 4 USD a call; a judge's may cost 512
        async with service_of(tmp_path, a) as service:
            job = job_of(tmp_path, reward="judge:a", settings=Settings(max_tokens=4), max_cost_usd=518.0)
            report = await label(service, job)
    assert (report.num_written, report.cost_usd, report.probes) == (1, 8.0, {})
    assert any(note.startswith("whether the judge can be gamed is not known") for note in report.notes())


async def test_an_expert_that_keeps_failing_is_given_up_and_not_scored(tmp_path):
    async with running_upstream() as upstream:
        bad = openai_expert("bad", upstream.base_url, "422", limits={"concurrency": 1})
        good = openai_expert("good", upstream.base_url)
        async with service_of(tmp_path, bad, good) as service:
            report = await label(service, job_of(tmp_path, *queries(GIVE_UP_AFTER + 5)))
    outcomes = list(read_outcomes(report.out))
    assert all(outcome.rewards == {"good": 0.0} for outcome in outcomes)
    assert sum(exchange.body["model"] == "fault-422" for exchange in upstream.requests) == GIVE_UP_AFTER
    assert report.reasons == {f"bad failed {GIVE_UP_AFTER + 5} times": "scripted failure"}
    assert not report.complete


async def test_what_failed_is_tried_again_by_the_next_run(tmp_path):
    async with (
        running_upstream(usual=status(422)) as upstream,
        service_of(tmp_path, openai_expert("a", upstream.base_url)) as service,
    ):
        job = job_of(tmp_path)
        assert (await label(service, job)).num_written == 0
        assert not job.out.exists()
        upstream.usual = "ok"
        assert (await label(service, job)).num_written == 1


async def test_a_query_too_long_for_an_expert_is_an_unusable_answer(tmp_path):
    long, short = {"query": "word " * 500, "target": "4"}, {"query": "2 + 2?", "target": "4"}
    async with (
        running_upstream() as upstream,
        service_of(tmp_path, openai_expert("a", upstream.base_url, context=200)) as service,
    ):
        report = await label(service, job_of(tmp_path, long, short))
    assert [outcome.answers["a"] for outcome in read_outcomes(report.out)] == [None, "Hello from upstream."]
    (exchange,) = upstream.requests
    assert exchange.body["max_tokens"] < 200, "the answer is no longer than the context leaves"


async def test_an_answer_without_text_is_unusable_and_paid_for(tmp_path):
    async with (
        running_upstream(message={"role": "assistant", "content": [{"type": "image"}]}) as upstream,
        service_of(tmp_path, openai_expert("a", upstream.base_url, price=DEAR)) as service,
    ):
        report = await label(service, job_of(tmp_path))
    assert report.experts[0].num_unusable == 1
    assert report.cost_usd == pytest.approx(1.1)


async def test_vectors_that_are_none_grade_nothing(tmp_path):
    odd = replies(b'{"object": "list", "data": [{"embedding": [1.0]}]}')
    async with running_upstream(usual=odd) as upstream:
        vectors = openai_expert("vectors", upstream.base_url, kind="embedding")
        async with service_of(tmp_path, {"name": "a", "backend": "echo"}, vectors) as service:
            report = await label(service, job_of(tmp_path, reward="similarity:vectors"))
    assert report.num_written == 0
    assert report.reasons == {"1 queries are not graded": "vectors did not answer two texts with two vectors"}


async def test_embeddings_grade_by_similarity(tmp_path):
    vectors = {"name": "vectors", "backend": "echo", "kind": "embedding"}
    async with service_of(tmp_path, {"name": "a", "backend": "echo"}, vectors) as service:
        report = await label(service, job_of(tmp_path, {"query": "4", "target": "4"}, reward="similarity:vectors"))
    assert report.experts[0].reward == pytest.approx(1.0)


async def test_messages_are_asked_as_they_are(tmp_path):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    async with running_upstream() as upstream, service_of(tmp_path, openai_expert("a", upstream.base_url)) as service:
        await label(service, job_of(tmp_path, {"query": messages, "target": "Hi"}, settings=Settings(99, 0.5)))
    body = upstream.requests[0].body
    assert (body["messages"], body["max_tokens"], body["temperature"]) == (messages, 99, 0.5)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"experts": ("nobody",)}, "'nobody' is no expert; expected one of a"),
        ({"experts": ("vectors",)}, "'vectors' serves embedding requests; expected one of a"),
        ({"reward": "similarity:a"}, "'a' serves chat requests; expected one of vectors"),
        ({"reward": "judge:nobody"}, "'nobody' is no expert"),
        ({"reward": "code"}, "q.jsonl:1: the reward 'code' needs the field 'tests'"),
    ],
)
async def test_what_cannot_be_done_is_told_before_anybody_is_asked(tmp_path, fields, reason):
    async with running_upstream() as upstream:
        vectors = openai_expert("vectors", upstream.base_url, kind="embedding")
        async with service_of(tmp_path, openai_expert("a", upstream.base_url), vectors) as service:
            with pytest.raises(LabelError) as error:
                await label(service, job_of(tmp_path, **fields))
    assert reason in error.value.message
    assert not upstream.requests


@pytest.mark.parametrize("out", ["q.jsonl", ".", "none/o.jsonl"])
async def test_an_output_that_cannot_be_is_refused(tmp_path, out):
    async with service_of(tmp_path, {"name": "a", "backend": "echo"}) as service:
        with pytest.raises(LabelError, match=r"expected (a|another) file to write"):
            await label(service, replace(job_of(tmp_path), out=tmp_path / out))
    assert "What is 2 + 2?" in (tmp_path / "q.jsonl").read_text()


async def test_a_file_of_somebody_else_is_not_replaced(tmp_path):
    (tmp_path / "o.jsonl").write_text("precious")
    async with service_of(tmp_path, {"name": "a", "backend": "echo"}) as service:
        with pytest.raises(LabelError, match=r"is there and has no o\.jsonl\.journal; expected a new file"):
            await label(service, job_of(tmp_path))
    assert (tmp_path / "o.jsonl").read_text() == "precious"


async def test_a_file_without_queries_is_refused(tmp_path):
    async with service_of(tmp_path, {"name": "a", "backend": "echo"}) as service:
        job = job_of(tmp_path)
        job.queries.write_text("\n")
        with pytest.raises(LabelError, match="there is no query in it"):
            await label(service, job)


PANEL = {"experts": ["a", "b", "c"], "aggregator": "vote"}


def members(upstream):
    """An answer of each costs 1.10 USD."""
    return [openai_expert(name, upstream.base_url, price=DEAR) for name in "abc"]


async def test_a_panel_costs_what_its_members_do(tmp_path):
    """Finding 18 of the review of panels: it was three times as much for three."""
    async with (
        running_upstream(usual=says(echo_answer)) as upstream,
        service_of(tmp_path, *members(upstream), panels={"c": PANEL}) as service,
    ):
        report = await label(service, job_of(tmp_path, *queries(2), experts=("panel/c",)))
    assert report.cost_usd == pytest.approx(6 * 1.1)
    assert [outcome.costs for outcome in read_outcomes(report.out)] == [{"panel/c": pytest.approx(3.3)}] * 2


async def test_a_changed_panel_is_asked_again(tmp_path):
    """Finding 18 of the review of panels: answers of another aggregator were reused."""
    changes = [{}, {"description": "Three of them."}, {"quorum": 2}, {"experts": ["a", "b"]}]
    asked = []
    async with running_upstream(usual=says(echo_answer)) as upstream:
        for change in changes:
            async with service_of(tmp_path, *members(upstream), panels={"c": PANEL | change}) as service:
                await label(service, job_of(tmp_path, experts=("panel/c",)))
            asked.append(len(upstream.requests))
        other = [expert | {"model": "other"} for expert in members(upstream)]
        async with service_of(tmp_path, *other, panels={"c": PANEL}) as service:
            await label(service, job_of(tmp_path, experts=("panel/c",)))
    assert asked == [3, 3, 6, 8]
    assert len(upstream.requests) == 11


async def test_a_limit_is_kept_with_a_panel_that_has_one(tmp_path):
    """4 USD an answer, 10 at most: two members are asked of the budget's 20, and two more of what the first two left."""
    settings = Settings(max_tokens=10)
    async with running_upstream(usual=says(echo_answer)) as upstream:
        dear = [expert | {"price": {"output": 1e6}} for expert in members(upstream)]
        async with service_of(tmp_path, *dear, panels={"c": {**PANEL, "budget": {"usd": 20.0}}}) as service:
            job = job_of(tmp_path, *queries(9), experts=("panel/c",), settings=settings, max_cost_usd=30.0)
            report = await label(service, job)
    assert report.budget_spent
    assert report.cost_usd == pytest.approx(4.0 * len(upstream.requests))
    assert 0.0 < report.cost_usd <= 30.0


async def test_a_panel_without_a_limit_is_refused_under_one(tmp_path):
    async with (
        running_upstream() as upstream,
        service_of(tmp_path, *members(upstream), panels={"c": PANEL}) as service,
    ):
        with pytest.raises(LabelError, match="'panel/c' has no `budget` in `usd`"):
            await label(service, job_of(tmp_path, experts=("panel/c",), max_cost_usd=100.0))
    assert not upstream.requests


async def test_what_a_panel_spent_for_nothing_counts_under_a_limit(tmp_path):
    """One member answers, for 1.10 USD, and two are needed."""
    panels = {"c": {**PANEL, "experts": ["a", "b"], "quorum": 2, "budget": {"usd": 20.0}}}
    async with running_upstream(usual=says(echo_answer)) as upstream:
        broken = openai_expert("b", upstream.base_url, "400", price=DEAR)
        async with service_of(tmp_path, members(upstream)[0], broken, panels=panels) as service:
            settings = Settings(max_tokens=10)
            job = job_of(tmp_path, *queries(9), experts=("panel/c",), settings=settings, max_cost_usd=21.0)
            report = await label(service, job)
            again = await label(service, job)
    assert report.budget_spent
    assert report.cost_usd == pytest.approx(1.1)
    assert (again.cost_usd, again.num_asked) == (report.cost_usd, 0)
