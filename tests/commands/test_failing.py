"""What libraries raise becomes one line."""

import pytest

from orchestrator.commands.failing import told
from orchestrator.errors import DataError, MissingExtra


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (ValueError("expected 0 to 1"), "^expected 0 to 1$"),
        (FileNotFoundError(2, "No such file or directory", "o.jsonl"), "^o.jsonl: No such file or directory$"),
        (OSError("disk on fire"), "^disk on fire$"),
        (ImportError("needs onnxruntime", name="onnxruntime"), "^needs onnxruntime$"),
    ],
)
def test_it_is_told_as_it_is(raised, message):
    with pytest.raises(DataError, match=message), told():
        raise raised


def test_a_missing_extra_is_named():
    with pytest.raises(MissingExtra, match=r"pip install 'switchyard-llm\[train\]'"), told():
        raise ModuleNotFoundError("No module named 'sklearn.linear_model'", name="sklearn.linear_model")


def test_other_exceptions_are_bugs_and_stay():
    with pytest.raises(KeyError), told():
        raise KeyError("expert")
