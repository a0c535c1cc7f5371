"""Benchmarks with right answers, in tiny files of their published formats."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evals.tasks.base import Said
from evals.tasks.registry import load_task
from orchestrator.errors import DataError, LabelError
from tests.support.asks import FakeAsks
from tests.support.bench import write_lines

MMLU_PRO = {
    "question_id": 70,
    "question": "Which is a fruit?",
    "options": ["brick", "pear", "spoon"],
    "answer": "B",
    "answer_index": 1,
    "cot_content": "",
    "category": "biology",
    "src": "made up",
}
ARC = {
    "id": "Made_1",
    "question": {
        "stem": "Which melts?",
        "choices": [{"text": "ice", "label": "1"}, {"text": "sand", "label": "2"}],
    },
    "answerKey": "1",
}
ARC_ON_THE_HUB = {
    "id": "Made_2",
    "question": "Which melts?",
    "choices": {"text": ["sand", "ice"], "label": ["A", "B"]},
    "answerKey": "B",
}
HUMAN_EVAL = {
    "task_id": "HumanEval/900",
    "prompt": 'def add(x: int, y: int) -> int:\n    """Add."""\n',
    "entry_point": "add",
    "canonical_solution": "    return x + y\n",
    "test": "METADATA = {}\n\ndef check(candidate):\n    assert candidate(2, 3) == 5\n",
}


async def reward(task, text, index=0):
    grade = await task.grader(FakeAsks(lambda _: ""))
    return await grade(task.items[index], [Said(text, "a", 0.0)])


async def test_gsm8k(tmp_path):
    row = {"question": "Two and a thousand?", "answer": "A thousand and two is <<1000+2=1002>>1,002.\n#### 1,002"}
    task = load_task(f"gsm8k={write_lines(tmp_path / 'test.jsonl', [row])}")
    assert task.items[0].query.startswith("Two and a thousand?\n")
    assert [await reward(task, text) for text in ("So 2 more.\n#### 1002", "#### 1003")] == [1.0, 0.0]


@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet"])
async def test_mmlu_pro(tmp_path, suffix):
    path = tmp_path / f"test.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist([MMLU_PRO]), path)
    else:
        path.write_text(json.dumps([MMLU_PRO] if suffix == "json" else MMLU_PRO))
    task = load_task(f"mmlu-pro={path}")
    item = task.items[0]
    assert (item.id, item.group, item.target) == ("70", "biology", "B")
    assert "Which is a fruit?\nA. brick\nB. pear\nC. spoon\n" in item.query
    assert [await reward(task, f"Hm. The answer is ({letter}).") for letter in "BC"] == [1.0, 0.0]


async def test_arc(tmp_path):
    task = load_task(f"arc={write_lines(tmp_path / 'ARC-Test.jsonl', [ARC])}")
    assert [await reward(task, text) for text in ("A", "ice", "B")] == [1.0, 1.0, 0.0]


async def test_arc_as_on_the_hub(tmp_path):
    path = tmp_path / "arc.parquet"
    pq.write_table(pa.Table.from_pylist([ARC_ON_THE_HUB]), path)
    assert await reward(load_task(f"arc={path}"), "B. ice") == 1.0


async def test_human_eval(tmp_path):
    path = tmp_path / "HumanEval.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(HUMAN_EVAL).encode()))
    task = load_task(f"humaneval={path}")
    right = f"Here:\n```python\n{HUMAN_EVAL['prompt']}{HUMAN_EVAL['canonical_solution']}```"
    assert [await reward(task, text) for text in (right, right.replace("+", "-"))] == [1.0, 0.0]


async def test_labelled_queries_with_any_reward(tmp_path):
    path = write_lines(tmp_path / "q.jsonl", [{"query": "Capital of Peru?", "target": "Lima"}])
    task = load_task(f"contains={path}")
    assert task.name == "contains"
    assert await reward(task, "It is Lima, I think.") == 1.0


@pytest.mark.parametrize(
    ("form", "row", "message"),
    [
        ("gsm8k", {"question": "1 + 1?"}, "missing required field `answer`"),
        ("gsm8k", {"question": "1 + 1?", "answer": "2"}, "field 'answer': expected '#### N' at its end"),
        ("gsm8k", [], "Expected `object`, got `array`"),
        ("mmlu-pro", MMLU_PRO | {"answer_index": 3}, "field 'answer_index': expected 0 to 2, got 3"),
        ("mmlu-pro", MMLU_PRO | {"options": "a, b"}, r"Expected `array`, got `str` - at `\$.options`"),
        ("arc", ARC | {"answerKey": "E"}, "field 'answerKey': expected one of 1, 2, got 'E'"),
        ("arc", {"id": "1", "question": "Which?", "answerKey": "A"}, "the field 'choices' is missing"),
        ("humaneval", HUMAN_EVAL | {"test": 3}, r"Expected `str`, got `int` - at `\$.test`"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, form, row, message):
    good = {"gsm8k": {"question": "?", "answer": "#### 1"}, "mmlu-pro": MMLU_PRO, "arc": ARC, "humaneval": HUMAN_EVAL}
    path = write_lines(tmp_path / "t.jsonl", [good[form], row])
    with pytest.raises(DataError, match=rf"t\.jsonl:2: .*{message}"):
        load_task(f"{form}={path}")


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "t.jsonl:1: expected a JSON object"), ("", "t.jsonl: there is nothing in it"), (None, "can't be read")],
)
def test_a_file_that_is_none_is_told(tmp_path, text, message):
    path = tmp_path / "t.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=message):
        load_task(f"gsm8k={path}")


@pytest.mark.parametrize(("name", "content"), [("t.parquet", b"no"), ("t.jsonl.gz", b"no"), ("t.json", b"[{]")])
def test_a_damaged_file_is_told(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        load_task(f"gsm8k={tmp_path / name}")


def test_an_id_that_is_taken_is_told(tmp_path):
    with pytest.raises(DataError, match=r"t\.jsonl:2: the id 'Made_1' is taken"):
        load_task(f"arc={write_lines(tmp_path / 't.jsonl', [ARC, ARC])}")


async def test_what_a_reward_lacks_is_told_before_anything_is_asked(tmp_path):
    path = write_lines(tmp_path / "q.jsonl", [{"query": "1?", "target": "1"}, {"query": "2?", "target": "two"}])
    with pytest.raises(DataError, match=r"q\.jsonl:2: field 'target': expected a number, got 'two'"):
        await load_task(f"numeric={path}").grader(FakeAsks(lambda _: ""))


def test_a_query_that_is_none_is_told(tmp_path):
    with pytest.raises(LabelError, match=r"q\.jsonl:1: field 'query'"):
        load_task(f"exact={write_lines(tmp_path / 'q.jsonl', [{'target': 'x'}])}")
