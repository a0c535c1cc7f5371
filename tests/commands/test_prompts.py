"""`switchyard prompts build` as a user runs it, and what it built serves."""

import json

import pytest

from orchestrator.mixtures.artifact import load_mixture
from tests.support.cli import switchyard
from tests.support.queries import chat_query
from tests.support.service import service_of, text_of, write_config

BUILD = ("prompts", "build", "--data", "q.jsonl", "--out", "mix", "--features", "hashed")


def write_queries(folder):
    rows = [{"query": f"What is {a} + {a}?", "target": str(2 * a)} for a in range(12)]
    (folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


async def test_a_mixture_is_built_and_serves(tmp_path):
    write_queries(tmp_path)
    result = await switchyard(*BUILD, "--regions", "2", cwd=tmp_path)
    assert result.code == 0, result.err
    assert "wrote mix; 0 calls" in result.out
    below = {"name": "below", "backend": "echo"}
    mixed = {"name": "mixed", "backend": "prompts", "base": "below", "artifact": "mix"}
    async with service_of(tmp_path, below, mixed) as service:
        assert (
            await text_of(await service.pipeline.answer(chat_query("What is 3 + 4?", model="mixed")))
            == "What is 3 + 4?"
        )


async def test_an_expert_of_the_yaml_is_asked(tmp_path):
    write_queries(tmp_path)
    write_config(tmp_path, {"name": "a", "backend": "echo"})
    (tmp_path / "i.txt").write_text("Add the numbers.\n\nReply with digits.\n")
    result = await switchyard(
        *BUILD, "--expert", "a", "--instructions", "i.txt", "--candidates", "0", "--json", cwd=tmp_path
    )
    assert result.code == 0, result.err
    built = json.loads(result.out)
    assert built["num_asked"] == 3 * sum(region["validated"] for region in built["regions"])
    assert load_mixture(tmp_path / "mix", []).mixture.instructions == tuple(
        each["instruction"] for each in built["regions"]
    )


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--instructions", "empty.txt"), "empty.txt: expected instructions, one a line, got none"),
        (("--instructions", "nowhere.txt"), "nowhere.txt: No such file or directory"),
        (("--features", "minilm"), "'minilm' is nothing that texts can be read with"),
        (("--data", "nowhere.jsonl"), "nowhere.jsonl: can't be read"),
    ],
)
async def test_what_is_wrong_is_one_line(tmp_path, args, told):
    write_queries(tmp_path)
    (tmp_path / "empty.txt").write_text("\n")
    result = await switchyard(*BUILD, *args, cwd=tmp_path)
    assert result.code == 1
    assert told in result.err
    assert result.err.count("\n") == 1
