"""Adding and removing experts leaves every other byte of the file alone."""

import stat
from pathlib import Path

import pytest

from orchestrator.errors import ConfigError
from orchestrator.fleet.configedit import add_expert, parse_settings, place_experts, remove_expert
from orchestrator.fleet.configfile import load_config

TEXT = """\
# The fleet.
version: 1   # of the format

experts:
  # First.
  - name: a
    backend: echo
    # latency_s: 1

  # Second,
  # and the last.
  - {name: b, backend: echo}     # short

# What clients call.
policies:
  auto: {lambda: 0.5}
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "experts.yaml"
    path.write_text(TEXT)
    return path


def names(path: Path) -> list[str]:
    return [spec.name for spec in load_config(path).experts]


def test_an_added_expert_comes_last_and_nothing_else_changes(path):
    add_expert(path, {"name": "c", "backend": "echo", "skills": ["x", "y"], "price": {"input": 1.5}})
    added = "  - name: c\n    backend: echo\n    skills: [x, y]\n    price: {input: 1.5}\n"
    before, after = TEXT.split("\n# What")
    assert path.read_text() == f"{before}{added}\n# What{after}"


def test_what_was_added_is_removed_again_without_a_trace(path):
    add_expert(path, {"name": "c", "backend": "echo"})
    remove_expert(path, "c")
    assert path.read_text() == TEXT


def test_removing_takes_the_experts_own_comments_along(path):
    remove_expert(path, "b")
    assert path.read_text() == TEXT.replace(TEXT[TEXT.index("  # Second") : TEXT.index("# What")], "")
    path.write_text(TEXT)
    remove_expert(path, "a")
    assert path.read_text() == TEXT.replace(TEXT[TEXT.index("  # First") : TEXT.index("  # Second")], "")


@pytest.mark.parametrize(
    "text",
    [
        "experts:\n- name: a\n  backend: persona\n  base: b\n  system: |\n    One.\n\n    Two.\n"
        "- name: b\n  backend: echo\nversion: 1\n",
        "version: 1\nexperts:\n-\n  name: a\n  backend: echo\n-\n  name: b\n  backend: echo",
        "version: 1\r\nexperts:\r\n- name: a\r\n  backend: echo\r\n- name: b\r\n  backend: echo\r\n",
    ],
    ids=["block text", "dash on its own line, no last newline", "line ends of Windows"],
)
def test_other_layouts(path, text):
    path.write_bytes(text.encode())
    add_expert(path, {"name": "c", "backend": "echo"})
    assert names(path) == ["a", "b", "c"]
    remove_expert(path, "a")
    assert names(path) == ["b", "c"]


def test_an_invalid_expert_is_refused_and_the_file_stays(path):
    with pytest.raises(ConfigError, match=r"experts\.yaml:15: experts\[2\]\.prise: unknown key, did you mean 'price'"):
        add_expert(path, {"name": "c", "backend": "echo", "prise": 1})
    assert path.read_text() == TEXT
    assert list(path.parent.iterdir()) == [path]


def test_an_expert_that_others_need_is_not_removed(path):
    path.write_text(TEXT + "  b-only: {experts: [b]}\n")
    with pytest.raises(ConfigError, match=r"experts\.yaml:17: policies\.b-only\.experts\[0\]: 'b' is no expert"):
        remove_expert(path, "b")
    assert names(path) == ["a", "b"]


def test_an_unknown_name_is_told_the_known_ones(path):
    with pytest.raises(ConfigError, match="'z' is no expert; expected one of a, b"):
        remove_expert(path, "z")


def test_a_list_in_brackets_is_not_edited(path):
    path.write_text("version: 1\nexperts: [{name: a, backend: echo}, {name: b, backend: echo}]\n")
    with pytest.raises(ConfigError, match=r":2: experts: expected a list written with dashes"):
        remove_expert(path, "a")


def test_mode_and_link_are_kept(path):
    path.chmod(0o640)
    link = path.with_name("link.yaml")
    link.symlink_to(path)
    add_expert(link, {"name": "c", "backend": "echo"})
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert names(path) == ["a", "b", "c"]


def test_settings_are_yaml_and_dots_reach_inside():
    assert parse_settings(["backend=openai", "price.input=2.5", "price.output=10", "skills=[code, chat]", "x="]) == {
        "backend": "openai",
        "price": {"input": 2.5, "output": 10},
        "skills": ["code", "chat"],
        "x": None,
    }


@pytest.mark.parametrize("setting", ["backend", "a=[", "a.b=1"])
def test_a_setting_that_is_none_is_refused(setting):
    with pytest.raises(ConfigError, match="expected KEY=VALUE"):
        parse_settings(["a=1", setting])


def test_a_placement_is_written_below_and_replaced_without_touching_the_rest(tmp_path):
    path = tmp_path / "experts.yaml"
    fleet = "version: 1\nexperts:  # two\n" + "".join(
        f'  - {{name: {name}, backend: command, command: "serve {{port}}"}}\n' for name in "ab"
    )
    path.write_text(fleet)
    place_experts(path, {"a": ["10.0.0.1"]})
    assert path.read_text() == fleet + "\nplacement:\n  a: [10.0.0.1]\n"
    place_experts(path, {"b": ["10.0.0.2", "10.0.0.1"]})
    assert path.read_text() == fleet + "\nplacement:\n  a: [10.0.0.1]\n  b: [10.0.0.2, 10.0.0.1]\n"


def test_nobody_else_is_placed(tmp_path):
    path = tmp_path / "experts.yaml"
    path.write_text("version: 1\nexperts:\n  - {name: a, backend: echo}\n")
    with pytest.raises(ConfigError, match="'a' is no expert with weights of its own"):
        place_experts(path, {"a": ["10.0.0.1"]})
    assert "placement" not in path.read_text()
