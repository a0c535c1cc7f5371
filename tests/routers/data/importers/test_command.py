import json

from routers.data.outcomes import read_outcomes
from tests.support.cli import switchyard

ROW = {"query": "How many?", "model_name": "small", "performance": 1.0, "task_name": "gsm8k"}


async def test_import_outcomes_writes_the_file_and_tells_what_was_left_out(tmp_path):
    rows = [ROW, {**ROW, "model_name": "large"}, {**ROW, "performance": None}]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = await switchyard("import", "outcomes", "auto", "r.jsonl", "--out", "o.parquet", cwd=tmp_path)
    assert (result.code, result.out) == (0, "wrote 1 queries with 2 experts to o.parquet\n")
    assert result.err == "left out: 1 rows without a performance\n"
    (outcome,) = read_outcomes(tmp_path / "o.parquet")
    assert outcome.rewards == {"small": 1.0, "large": 1.0}


async def test_import_outcomes_as_json(tmp_path):
    (tmp_path / "r.jsonl").write_text(json.dumps(ROW) + "\n" + json.dumps(ROW) + "\n")
    result = await switchyard(
        "import", "outcomes", "llmrouter", "r.jsonl", "--out", "o.jsonl.gz", "--json", cwd=tmp_path
    )
    assert json.loads(result.out) == {
        "out": "o.jsonl.gz",
        "queries": 1,
        "experts": ["small"],
        "repeats": 1,
        "left_out": {},
    }


async def test_a_wrong_file_is_one_line_and_writes_nothing(tmp_path):
    (tmp_path / "r.jsonl").write_text("{}\n")
    for arguments, message in (
        (("llmrouter", "r.jsonl"), "r.jsonl:1: the field 'query' is missing\n"),
        (("llmrouter", "absent.jsonl"), "absent.jsonl: No such file or directory\n"),
    ):
        result = await switchyard("import", "outcomes", *arguments, "--out", "o.jsonl", cwd=tmp_path)
        assert (result.code, result.out, result.err) == (1, "", message)
    assert not (tmp_path / "o.jsonl").exists()
