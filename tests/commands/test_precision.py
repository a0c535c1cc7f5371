"""`switchyard experts precision`."""

import json
from pathlib import Path

import pytest

from orchestrator.commands.precision import precision
from orchestrator.errors import ConfigError

VARIANTS = """\
experts:
  - {name: a, traffic: 3, without: 0.4, variants: [{name: q4, memory_gb: 4, quality: 0.6}, {name: q8, memory_gb: 8, quality: 0.7}]}
  - {name: b, traffic: 1, variants: [{name: q4, memory_gb: 4, quality: 0.5}]}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "variants.yaml").write_text(VARIANTS)
    return tmp_path


def test_variants_are_chosen_and_another_gigabyte_is_priced(folder, capsys):
    precision(Path("variants.yaml"), budget_gb=11.0, as_json=True)
    body = json.loads(capsys.readouterr().out)
    assert {name: variant["name"] for name, variant in body["variants"].items()} == {"a": "q4", "b": "q4"}
    assert body["quality"] == pytest.approx(0.575)
    assert body["another_gb"] == pytest.approx(0.075)
    assert body["memory_bytes"] == 8_000_000_000


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("quality: 0.6}", "quality: 60}", r":2: experts\[0\].variants\[0\].quality: got 60, expected a number <= 1.0"),
        (
            "quality: 0.6}",
            "quality: .nan}",
            r":2: experts\[0\].variants\[0\].quality: got NaN, expected a number >= 0.0",
        ),
        ("name: q8", "name: q4", r":2: experts\[0\].variants\[1\].name: 'q4' stands twice"),
        ("name: b", "name: a", r":3: experts\[1\].name: 'a' stands twice"),
        (
            "experts:\n  - {name: a,",
            "name: a\nexperts:\n  - {name: c,",
            ":1: name: unknown key, expected one of experts",
        ),
        ("traffic: 3", "traffic: 0", "variants.yaml: expected traffic above 0"),
    ],
)
def test_quantisations_that_are_wrong_are_refused_with_the_place(folder, right, wrong, message):
    (folder / "variants.yaml").write_text(VARIANTS.replace(right, wrong).replace("traffic: 1", "traffic: 0"))
    with pytest.raises(ConfigError, match=message) as caught:
        precision(Path("variants.yaml"), budget_gb=4.0)
    assert caught.value.message.startswith("variants.yaml:")


def test_what_is_left_out_is_told(folder, capsys):
    precision(Path("variants.yaml"), budget_gb=4.0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["a", "q4", "4.0", "0.6"]
    assert lines[2].split() == ["b", "nothing"]
    assert lines[-1].startswith("one more GB adds 0.0000")
