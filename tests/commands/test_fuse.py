"""`switchyard fuse train` and `switchyard fuse evaluate` as a user runs them, and what they say of bad input."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.commands import fuse
from orchestrator.errors import DataError
from routers.base import Outcome
from routers.data.outcomes import write_outcomes
from routers.encoders import HashedEncoder
from routers.fusing.artifact import write_fusion
from routers.fusing.evaluation import Reference
from routers.fusing.evaluation import evaluate as judge
from routers.fusing.fusion import Fusion
from routers.fusing.table import AnswerTable
from tests.support.artifacts import trained
from tests.support.cli import switchyard
from tests.support.recorded import recorded_outcomes

COSTS = {"a": 0.004, "b": 0.001, "c": 0.001, "d": 0.001}
SKILLS = {"a": [0.9, 0.3], "b": [0.3, 0.9], "c": 0.6, "d": 0.6}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder without an experts.yaml, with two files of outcomes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWITCHYARD_CONFIG", raising=False)
    write_outcomes("train.jsonl", recorded_outcomes(SKILLS, n=100, seed=0, silent=0.1, costs=COSTS))
    write_outcomes("test.jsonl", recorded_outcomes(SKILLS, n=60, seed=1, silent=0.1, costs=COSTS))
    return tmp_path


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A fusion on disk."""
    table = AnswerTable.from_outcomes(recorded_outcomes(SKILLS, n=100, seed=0, silent=0.1, costs=COSTS))
    fusion, reference = Fusion(encoder=HashedEncoder()).fit(table), Reference.of(table)
    path = tmp_path_factory.mktemp("learned") / "fusion"
    write_fusion(path, fusion, reference, {"all calls": judge(fusion.fuse(table), table, reference)})
    return path


def evaluate(folder="fusion", data="test.jsonl", **options):
    fuse.evaluate(Path(folder), data=[Path(data)], **options)


def printed(capsys):
    return json.loads(capsys.readouterr().out)


async def test_from_outcomes_to_a_judged_fusion_in_two_commands(folder):
    made = await switchyard("fuse", "train", "fusion", "--data", "train.jsonl", cwd=folder)
    assert made.code == 0, made.err
    lines = made.out.splitlines()
    assert lines[0] == "fusion of 4 experts, cross-validated on 100 queries"
    assert any(line.startswith("3 calls on average") for line in lines)
    assert lines[-1].startswith("wrote fusion (")
    assert made.err == "", "no progress in a pipe"

    judged = await switchyard(
        "fuse", "evaluate", "fusion", "--data", "test.jsonl", "--mean-calls", "3", "--json", cwd=folder
    )
    body = json.loads(judged.out)
    assert body["n"] == 60
    assert body["accuracy"].keys() == {"mean", "ci95"}
    assert body["calls_mean"] <= 3.0
    assert body["baselines"].keys() == {"best_single", "group_best", "majority", "weighted_vote", "oracle"}
    assert body["notes"] == []


def test_a_budget_is_kept(folder, learned, capsys):
    evaluate(learned, max_calls=2, as_json=True)
    assert printed(capsys)["calls_max"] == 2
    evaluate(learned, retry_unusable=True, as_json=True)
    assert 1.0 < printed(capsys)["calls_mean"] < 1.5


def test_a_mean_cost_is_kept_and_told(folder, learned, capsys):
    evaluate(learned, mean_cost=0.003, as_json=True)
    body = printed(capsys)
    assert 0.0005 < body["cost_mean"] <= 0.003
    assert body["cost_unit"] == "usd"
    evaluate(learned, mean_cost=0.003)
    out = capsys.readouterr().out
    assert "mean cost (usd)" in out
    assert f"{body['cost_mean']:.6g}" in out


def test_a_mean_cost_in_another_unit_is_refused(folder, learned):
    outcomes = recorded_outcomes(SKILLS, n=5, costs=COSTS)
    write_outcomes("letters.jsonl", [replace(outcome, cost_unit="characters") for outcome in outcomes])
    with pytest.raises(DataError, match="costs in 'usd' were learned of, and these outcomes' are in 'characters'"):
        evaluate(learned, data="letters.jsonl", mean_cost=0.003)


def test_people_get_a_table(folder, learned, capsys):
    evaluate(learned)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("fusion on 60 queries")
    assert [line.split("  ")[0] for line in lines[3:]][:5] == [
        "best single",
        "group best",
        "majority",
        "weighted vote",
        "this fusion",
    ]


def test_what_limits_the_numbers_is_told(folder, learned, capsys):
    evaluate(learned, experts="b,c", mean_calls=1.5, as_json=True)
    assert [note.partition(":")[0] for note in printed(capsys)["notes"]] == [
        "not in these outcomes, so never chosen here",
        "means are held where all of its experts may be asked; here some may not",
    ]
    evaluate(learned, data="train.jsonl", as_json=True)
    assert printed(capsys)["notes"][0].startswith("100 of 100 queries are among those that it learned from")


def test_some_experts_alone_are_learned_of(folder, capsys):
    fuse.train(Path("fusion"), data=[Path("train.jsonl")], experts="c,a", as_json=True)
    made = printed(capsys)
    assert made["artifact"]["path"] == "fusion"
    assert made["cross_validated"].keys() == {"all calls", "one call, retried"}
    evaluate(as_json=True)
    assert printed(capsys)["notes"] == ["unknown to the router and left out: b, d"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"data": None}, "no outcomes: give --data FILE"),
        ({"experts": "a,z"}, "no outcome has the expert 'z', expected some of a, b, c, d"),
        ({"data": [Path("nowhere.jsonl")]}, "nowhere.jsonl"),
        ({"data": [Path("plain.jsonl")]}, "fusion learns from outcomes with 'answers'"),
        ({"data": [Path("few.jsonl")]}, "expected from 2 to 3 folds"),
    ],
)
def test_outcomes_that_nothing_can_be_learned_from(folder, options, said):
    write_outcomes("plain.jsonl", [Outcome("?", {"a": 1.0})])
    write_outcomes("few.jsonl", recorded_outcomes(SKILLS, n=3))
    with pytest.raises(DataError, match=said):
        fuse.train(Path("fusion"), **({"data": [Path("train.jsonl")]} | options))
    assert not Path("fusion").exists()


def test_a_folder_of_something_else_is_left_alone(folder):
    Path("fusion").mkdir()
    Path("fusion/thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="is there and is no artifact"):
        fuse.train(Path("fusion"), data=[Path("train.jsonl")])
    assert Path("fusion/thesis.txt").read_text() == "mine"


def test_a_router_cannot_fuse(folder):
    trained(Path("fusion"), good_at_sums="a", good_at_chat="b")
    with pytest.raises(DataError, match="holds a router of type 'linear'"):
        evaluate()


def test_a_budget_that_contradicts_itself(folder, learned):
    with pytest.raises(DataError, match="mean_calls and mean_cost are two ways"):
        evaluate(learned, mean_calls=2.0, mean_cost=0.003)
    with pytest.raises(DataError, match="mean_cost: one call a query takes"):
        evaluate(learned, mean_cost=0.0001)
    with pytest.raises(DataError, match="retry_unusable asks until an answer is usable"):
        evaluate(learned, mean_calls=2.0, retry_unusable=True)
