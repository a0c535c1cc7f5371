"""Profiling experts behind scripted upstreams: what is asked, what is paid, and what is said in the end."""

import json

import numpy as np
import pytest

from evals.active.live import Job, run, stratified
from orchestrator.errors import LabelError
from orchestrator.labelling.collecting import Settings
from tests.support.cli import switchyard
from tests.support.service import openai_expert, service_of, write_config
from tests.support.upstream import running_upstream, says

DEAR = {"input": 1e5, "output": 1e5}
"""Dollars per million tokens: the scripted upstream counts 7 in and 4 out, so an answer costs 1.10 USD."""


def knows(*topics):
    """An upstream that answers queries about these topics rightly."""

    def reply(body):
        query = body["messages"][-1]["content"]
        right = query.split()[0] in topics
        return {"role": "assistant", "content": query.replace("query", "answer") if right else "no idea"}

    return {"usual": says(reply)}


def job_of(folder, n=60, topics=("law", "math"), reward="exact", **fields):
    path = folder / "q.jsonl"
    rows = [(topics[i % len(topics)], i) for i in range(n)]
    path.write_text(
        "".join(
            json.dumps({"query": f"{t} query {i}", "target": f"{t} answer {i}", "group": t}) + "\n" for t, i in rows
        )
    )
    return Job(path, reward, journal=folder / "q.jsonl.journal", **fields)


async def test_the_best_expert_is_found_by_a_few_calls_and_measured(tmp_path):
    async with running_upstream(**knows("law", "math")) as good, running_upstream(**knows("math")) as fair:
        a = openai_expert("a", fair.base_url)
        b = openai_expert("b", good.base_url, price=DEAR)
        async with service_of(tmp_path, a, b) as service:
            profile = await run(service, job_of(tmp_path, n=200))
    assert (profile.decided, profile.sentences[0]) == (True, "best: b")
    assert profile.num_calls == profile.num_asked == len(good.requests) + len(fair.requests) < 100
    row = profile.experts[1]
    assert (row.expert, row.reward, row.num_unusable) == ("b", 1.0, 0)
    assert row.low < 1.0 == pytest.approx(row.high, abs=1e-3)
    assert row.cost_usd == pytest.approx(1.1 * row.calls) == profile.cost_usd
    assert row.latency_p50_s > 0
    assert row.tokens_per_s > 0


def two_of(upstream, **fields):
    """Experts a and b on one upstream, which know the same."""
    return [openai_expert(name, upstream.base_url, model=name, **fields) for name in ("a", "b")]


async def test_run_again_it_says_the_same_and_pays_nothing(tmp_path):
    async with (
        running_upstream(**knows("law")) as upstream,
        service_of(tmp_path, *two_of(upstream)) as service,
    ):
        first = await run(service, job_of(tmp_path, budget=20))
        again = await run(service, job_of(tmp_path, budget=20))
        more = await run(service, job_of(tmp_path, budget=40))
    assert (first.num_asked, again.num_asked, more.num_asked) == (20, 0, 20)
    assert first.sentences == again.sentences
    assert not first.decided
    assert first.notes == ("the budget of 20 calls is spent; a larger one goes on from here",)


async def test_experts_that_cross_are_warned_of_and_the_best_of_each_group_is_found(tmp_path):
    async with (
        running_upstream(**knows("law")) as lawyer,
        running_upstream(**knows("math")) as counter,
        service_of(
            tmp_path, openai_expert("lawyer", lawyer.base_url), openai_expert("counter", counter.base_url)
        ) as service,
    ):
        ranked = await run(service, job_of(tmp_path, n=400, goal="ranking"))
        best = await run(service, job_of(tmp_path, n=400, budget=200))
    assert ranked.sentences[1:4] == (
        "  lawyer is better than counter in law, and worse in math",
        "best in law: lawyer",
        "best in math: counter",
    )
    assert "  lawyer is better than counter in law, and worse in math" in best.notes


def test_a_group_that_is_asked_more_counts_no_more():
    rewards = np.array([1.0] * 90 + [np.nan] * 10 + [0.0] * 10 + [np.nan] * 290, dtype=np.float32)
    strata = [np.arange(100), np.arange(100, 400)]
    reward, low, high = stratified(rewards, strata)
    assert reward == 0.25
    assert low < 0.25 < high
    assert stratified(rewards, [*strata[:1], np.arange(110, 400)])[0] == 1.0, "of what is known"
    assert stratified(rewards[110:], [np.arange(290)]) == (None, 0.0, 1.0)


async def test_these_queries_alone_take_fewer_calls(tmp_path):
    async with (
        running_upstream(**knows("law", "math")) as good,
        running_upstream(**knows("math")) as fair,
        service_of(tmp_path, openai_expert("a", fair.base_url), openai_expert("b", good.base_url)) as service,
    ):
        these = await run(service, job_of(tmp_path, n=12, finite=True))
        like_these = await run(service, job_of(tmp_path, n=12))
    assert (these.decided, like_these.decided) == (True, False)
    assert these.sentences[1].startswith("this is about these 12 queries,")
    assert like_these.notes == ("every query was asked; more queries would tell more",)


async def test_equal_experts_are_equal_on_these_queries(tmp_path):
    async with (
        running_upstream(**knows("law")) as upstream,
        service_of(tmp_path, *two_of(upstream)) as service,
    ):
        profile = await run(service, job_of(tmp_path, n=12, finite=True, goal="ranking"))
    assert len(upstream.requests) == 24
    assert profile.notes == ("they are equal on these queries",)


async def test_an_expert_that_cannot_be_asked_ends_it(tmp_path):
    async with running_upstream(**knows("law")) as upstream:
        a, b = openai_expert("a", upstream.base_url), openai_expert("b", upstream.base_url, "401")
        async with service_of(tmp_path, a, b) as service:
            profile = await run(service, job_of(tmp_path))
    assert not profile.decided
    assert profile.experts[1].reward is None
    assert profile.notes[0].startswith("b failed: ")
    assert profile.notes[1] == "stopped: b can't be asked; the same command goes on from here"


async def test_money_ends_it_before_it_is_overspent(tmp_path):
    async with (
        running_upstream(**knows("law")) as upstream,
        service_of(tmp_path, *two_of(upstream, price=DEAR, limits={"concurrency": 1})) as service,
    ):
        profile = await run(service, job_of(tmp_path, max_cost_usd=5.0, settings=Settings(max_tokens=4)))
    assert profile.cost_usd <= 5.0
    assert profile.notes[-1].startswith("stopped: the next call might exceed --max-cost-usd")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reward": "pairwise:a"}, "compares all experts on a query"),
        ({"reward": "similar"}, "'similar' is no reward"),
        ({"goal": "best-by-group", "topics": ("",)}, "no query has a 'group'"),
        ({"experts": ("nobody",)}, "'nobody' is no expert"),
    ],
)
async def test_what_cannot_be_done_is_refused_before_anything_is_asked(tmp_path, fields, message):
    async with running_upstream() as upstream, service_of(tmp_path, openai_expert("a", upstream.base_url)) as service:
        with pytest.raises(LabelError, match=message):
            await run(service, job_of(tmp_path, **fields))
    assert upstream.requests == []


async def test_the_command_prints_a_table_or_json(tmp_path):
    write_config(
        tmp_path,
        {"name": "parrot", "backend": "function", "callable": "tests.support.callables:repeat"},
        {"name": "mute", "backend": "function", "callable": "tests.support.callables:decline"},
    )
    (tmp_path / "q.jsonl").write_text(
        "".join(json.dumps({"query": f"say {i}", "target": f"say {i}"}) + "\n" for i in range(40))
    )
    command = ("experts", "profile", "--queries", "q.jsonl", "--reward", "exact")
    result = await switchyard(*command, cwd=tmp_path)
    assert result.code == 0, result.err
    header, parrot, mute, verdict, about, calls = result.out.splitlines()
    assert header.split() == ["expert", "calls", "reward", "95%", "interval", "unusable", "p50", "s", "tokens/s", "USD"]
    assert parrot.split()[:3] == ["parrot", "8", "1.000"]
    assert mute.split()[:3] == ["mute", "8", "0.000"]
    assert verdict == "best: parrot"
    assert about == "this is about all queries like these, and what is decided is wrong at most 5 times in 100"
    assert calls == "16 calls, 16 of them made now; 0.0000 USD in all"
    told = json.loads((await switchyard(*command, "--json", cwd=tmp_path)).out)
    assert (told["decided"], told["num_asked"], told["experts"][1]["num_unusable"]) == (True, 0, 8)
