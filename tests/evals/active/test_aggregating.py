"""Which experts can make one answer of several: what they are shown, and what is written of them."""

import json
from pathlib import Path

import pytest

from evals.active.aggregating import Job, questions, run
from orchestrator.aggregators.choosing import read_aggregation
from orchestrator.commands.profile import profile
from orchestrator.errors import LabelError
from tests.support.cli import switchyard
from tests.support.service import openai_expert, service_of, write_config
from tests.support.upstream import running_upstream, says

ANSWERS = {"a": "I get 42.", "b": "It is 13.", "c": None, "d": "The answer is 42.", "e": "42", "f": "14"}


def outcomes(folder, n=20, answers=ANSWERS, **fields):
    path = folder / "O.jsonl"
    rewards = {name: float("42" in (said or "")) for name, said in answers.items()}
    rows = (
        {"query": f"6 x 7, {i}?", "rewards": rewards, "answers": answers, "target": "42"} | fields for i in range(n)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def job_of(folder, **fields):
    return Job(outcomes(folder), journal=folder / "journal", **fields)


def concludes(text):
    return {"usual": says(lambda body: {"role": "assistant", "content": text})}


def test_right_and_wrong_answers_are_quoted_without_names(tmp_path):
    items = questions(outcomes(tmp_path), 5)
    assert len(items) == 5
    for item in items:
        prompt = item.messages[-1]["content"]
        assert item.query in prompt
        assert item.target == "42"
        assert prompt.count("</answer ") == 4
        assert "42" in prompt
        assert "13" in prompt or "14" in prompt


def test_the_same_questions_are_asked_every_time(tmp_path):
    path = outcomes(tmp_path)
    assert questions(path, 5) == questions(path, 20)[:5]


@pytest.mark.parametrize(
    "fields",
    [
        {"target": None},
        {"answers": {"a": "42", "b": None}},
        {"answers": {"a": "42", "d": "42"}},
        {"answers": {"b": "13", "f": "13"}},
        {"answers": {}},
    ],
    ids=["no target", "only one speaks", "all are right", "all are wrong", "no answers"],
)
def test_outcomes_without_anything_to_aggregate_are_refused(tmp_path, fields):
    with pytest.raises(LabelError, match="some are right and others wrong"):
        questions(outcomes(tmp_path, **fields), 5)


async def test_who_concludes_rightly_is_the_better_aggregator(tmp_path):
    right, wrong = concludes("All in all, the answer is 42."), concludes("The answer is 13.")
    async with running_upstream(**right) as good, running_upstream(**wrong) as bad:
        experts = [openai_expert("good", good.base_url), openai_expert("bad", bad.base_url)]
        async with service_of(tmp_path, *experts) as service:
            found = await run(service, job_of(tmp_path, limit=15))
            again = await run(service, job_of(tmp_path, limit=15))
    assert (found.judges["good"].accuracy, found.judges["bad"].accuracy) == (1.0, 0.0)
    assert found.judges["good"].low > found.judges["bad"].high
    assert (found.num_queries, found.judges["good"].n, found.num_asked) == (15, 15, 30)
    assert (again.judges, again.num_asked) == (found.judges, 0), "nothing is paid for twice"


async def test_a_candidate_that_fails_is_told_of(tmp_path):
    async with running_upstream(**concludes("42")) as upstream:
        experts = [openai_expert("good", upstream.base_url), openai_expert("broken", upstream.base_url, "400")]
        async with service_of(tmp_path, *experts) as service:
            found = await run(service, job_of(tmp_path, limit=3, judges=("broken", "good")))
    assert list(found.judges) == ["good"]
    assert found.notes[0].startswith("broken failed 3 times: ")


async def test_the_command_writes_what_a_panel_reads(tmp_path):
    async with running_upstream(**concludes("42")) as upstream:
        write_config(tmp_path, openai_expert("a", upstream.base_url), openai_expert("b", upstream.base_url))
        outcomes(tmp_path)
        options = ("--data", "O.jsonl", "--judges", "a", "--limit", "4", "--out", "aggregation.json")
        done = await switchyard("experts", "profile", "--aggregate", *options, cwd=tmp_path)
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1].startswith("wrote aggregation.json; 4 calls made now")
    [(name, ability)] = read_aggregation(tmp_path / "aggregation.json").items()
    assert (name, ability.n, ability.accuracy) == ("a", 4, 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"aggregate": True}, "--aggregate needs --data"),
        ({"data": Path("O.jsonl")}, "belong to --aggregate"),
        ({}, "expected --queries and --reward, or --aggregate"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(LabelError, match=message):
        profile(**options)
