"""A journal is gone on with only while the models in it are what they were."""

import shutil

import pytest

from evals.live.served import JOURNAL, Served, require_same
from orchestrator.errors import DataError
from tests.support.artifacts import trained
from tests.support.bench import gateway_of, sweep, task_file, write_lines

LINES = ({"query": "4?", "target": "4"}, {"query": "5?", "target": "5"})
A, B = ({"name": name, "backend": "echo"} for name in "ab")


def served(**fields):
    return {"auto": Served("policy", "switchyard", experts=("a", "b"), router="default", **fields)}


def folder_of(tmp_path, journal):
    (tmp_path / JOURNAL).write_text(journal)
    return tmp_path


def test_what_is_the_same_may_go_on_and_what_has_changed_may_not(tmp_path):
    out = folder_of(tmp_path, "")
    require_same(out, served(artifact="one"))
    folder_of(tmp_path, "an answer\n")
    require_same(out, served(artifact="one"))
    with pytest.raises(DataError, match="its answers of 'auto' are from before the gateway's 'auto' changed"):
        require_same(out, served(artifact="two"))
    require_same(out, served(artifact="one"))


def test_other_models_may_come(tmp_path):
    out = folder_of(tmp_path, "")
    require_same(out, served())
    folder_of(tmp_path, "an answer\n")
    require_same(out, {"c": Served("chat", "echo")})
    with pytest.raises(DataError, match="'c'"):
        require_same(out, {"c": Served("chat", "openai")})
    with pytest.raises(DataError, match="'auto'"):
        require_same(out, served(artifact="two"))


def test_without_answers_anything_may_have_changed(tmp_path):
    out = folder_of(tmp_path, "")
    require_same(out, served(artifact="one"))
    require_same(out, served(artifact="two"))


def test_answers_of_nobody_knows_what_are_refused(tmp_path):
    out = folder_of(tmp_path, "an answer\n")
    with pytest.raises(DataError, match=r"doesn't tell what gave the answers in live.journal"):
        require_same(out, served())


async def test_a_router_that_was_trained_again_ends_a_journal_of_its_policy_alone(tmp_path):
    config = {"routers": {"learned": {"artifact": "router"}}, "policies": {"auto": {"router": "learned"}}}
    task = task_file(tmp_path, "exact", *LINES)
    trained(tmp_path / "router", good_at_sums="a", good_at_chat="b")
    async with gateway_of(tmp_path, A, B, **config) as url:
        before = await sweep(url, tmp_path / "out", task)
    async with gateway_of(tmp_path, A, B, **config) as url:
        assert await sweep(url, tmp_path / "out", task) == before, "a restart changes nothing"
    shutil.rmtree(tmp_path / "router")
    trained(tmp_path / "router", good_at_sums="b", good_at_chat="a")
    async with gateway_of(tmp_path, A, B, **config) as url:
        with pytest.raises(DataError, match="'auto'"):
            await sweep(url, tmp_path / "out", task)
        assert await sweep(url, tmp_path / "out", task, models=["a", "b"])
        assert await sweep(url, tmp_path / "other", task)


async def test_a_policy_that_has_another_expert_to_choose_is_another(tmp_path):
    task = task_file(tmp_path, "exact", *LINES)
    async with gateway_of(tmp_path, A) as url:
        await sweep(url, tmp_path / "out", task)
    async with gateway_of(tmp_path, A, B) as url:
        with pytest.raises(DataError, match="'auto'"):
            await sweep(url, tmp_path / "out", task)


async def test_a_policy_of_embedding_experts_is_asked_for_those(tmp_path):
    write_lines(tmp_path / "tiny" / "corpus.jsonl", [{"_id": "d1", "text": "cats sleep"}])
    write_lines(tmp_path / "tiny" / "queries.jsonl", [{"_id": "q1", "text": "who sleeps"}])
    (tmp_path / "tiny" / "qrels").mkdir()
    (tmp_path / "tiny" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    async with gateway_of(tmp_path, {"name": "hashed", "backend": "echo", "kind": "embedding"}) as url:
        await sweep(url, tmp_path / "out", f"beir={tmp_path / 'tiny'}")
    assert '"router": "default"' in (tmp_path / "out" / "live.served.json").read_text()
