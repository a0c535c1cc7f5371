import pytest

from evals.tasks.base import sample
from evals.tasks.registry import FORMATS, JUDGED, load_task, load_tasks, task_names
from evals.tasks.shipped import SHIPPED
from orchestrator.errors import DataError
from tests.support.bench import task_file


def test_shipped_tasks_go_by_their_names():
    assert [task.name for task in load_tasks(tuple(SHIPPED))] == list(SHIPPED)


def test_files_of_one_format_take_names_of_their_own(tmp_path):
    line = {"query": "4?", "target": "4"}
    tasks = load_tasks([task_file(tmp_path, "exact", line, name=name) for name in ("one", "other")])
    assert [task.name for task in tasks] == ["one", "other"]


def test_a_name_that_is_taken_is_told():
    with pytest.raises(DataError, match="two tasks are called 'json'"):
        load_tasks(["json", "json"])


@pytest.mark.parametrize(
    "written", ["nothing", "gsm8k", "gsm8k=", "gsm8k:judge=x", "mtbench=x", "nothing=x", "json=x", "name@json", ""]
)
def test_what_is_no_task_is_told_with_those_that_are(written):
    with pytest.raises(DataError, match=f"^'{written}' is no task; expected one of arithmetic, .*mtbench:JUDGE=PATH"):
        load_task(written)


def test_every_task_is_named():
    assert {*SHIPPED, *(f"{name}=PATH" for name in FORMATS)} <= set(task_names().split(", "))
    assert all(f"{name}:JUDGE=PATH" in task_names() for name in JUDGED)


def test_a_higher_limit_keeps_the_items_of_a_lower_one():
    items = load_task("arithmetic").items
    drawn = [{item.id for item in sample(items, limit)} for limit in (5, 12, 100)]
    assert [len(ids) for ids in drawn] == [5, 12, len(items)]
    assert drawn[0] < drawn[1] < drawn[2]
    assert {item.group for item in sample(items, 12)} == {"expression", "word problem"}
