"""Setting and removing a key leaves every other character of the text alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from orchestrator.fleet.mappingedit import with_value, without

TEXT = """\
# The fleet.
version: 1   # of the format

routers:     # how scores are made
  default: {type: skills}   # needs no training
  # Another.
  fixed:
    type: fixed
    expert: a

policies: {auto: {router: default, lambda: 0.2}, cheap: {}}   # braces
# The end.
"""


def loaded(text):
    return YAML(typ="safe", pure=True).load(text)


def test_a_value_is_replaced_in_its_place():
    assert with_value(TEXT, ("policies", "auto", "router"), "fixed") == TEXT.replace("router: default", "router: fixed")
    assert with_value(TEXT, ("routers", "fixed", "expert"), "b") == TEXT.replace("expert: a", "expert: b")


def test_a_key_is_added_as_its_neighbours_are_written():
    text = with_value(TEXT, ("routers", "new"), {"artifact": "a b", "examples": "#1"})
    line = "  new: {artifact: a b, examples: '#1'}\n"
    assert text == TEXT.replace("    expert: a\n", f"    expert: a\n{line}")
    assert with_value(TEXT, ("policies", "cheap", "router"), "fixed") == TEXT.replace("{}", "{router: fixed}")
    assert with_value(TEXT, ("policies", "auto", "previous"), "x") == TEXT.replace("0.2}", "0.2, previous: x}")


def test_what_is_missing_on_the_way_is_made():
    text = with_value("version: 1", ("policies", "auto", "router"), "new")
    assert text == "version: 1\n\npolicies:\n  auto: {router: new}\n"
    assert with_value("policies: {}", ("policies", "auto", "router"), "x") == "policies: {auto: {router: x}}"


def test_what_was_added_is_removed_without_a_trace():
    for keys in (("routers", "new"), ("policies", "new"), ("policies", "cheap", "new"), ("routers", "fixed", "new")):
        assert without(with_value(TEXT, keys, "value"), keys) == TEXT


def test_the_first_of_several_in_braces_is_removed():
    assert without(TEXT, ("policies", "auto", "router")) == TEXT.replace("router: default, ", "")
    assert without(TEXT, ("policies", "auto")) == TEXT.replace("auto: {router: default, lambda: 0.2}, ", "")


def test_an_entry_over_several_lines_is_removed():
    assert loaded(without(TEXT, ("routers", "fixed")))["routers"] == {"default": {"type": "skills"}}


@pytest.mark.parametrize(
    "keys", [("none",), ("none", "x"), ("routers", "none"), ("version", "x"), ("routers", "none", "x")]
)
def test_what_is_not_there_is_not_removed(keys):
    assert without(TEXT, keys) == TEXT


def test_a_mapping_over_several_lines_is_not_overwritten():
    with pytest.raises(ValueError, match=r"'routers\.fixed' is a mapping over several lines"):
        with_value(TEXT, ("routers", "fixed"), "x")


def test_line_ends_of_windows_and_a_file_without_the_last():
    text = "routers:\r\n  a: {type: skills}\r\npolicies:\r\n  auto: {router: a}"
    assert loaded(with_value(text, ("routers", "b"), {"type": "x"}))["routers"] == {
        "a": {"type": "skills"},
        "b": {"type": "x"},
    }
    assert loaded(with_value(text, ("policies", "b"), {"router": "a"}))["policies"]["b"] == {"router": "a"}


NAMES = st.text(
    st.characters(codec="ascii", categories=("L", "N")) | st.sampled_from("-._ '\"{}[]:,#&*!|>%@`é"), min_size=1
)


@settings(max_examples=25, deadline=None)
@given(NAMES, NAMES)
def test_any_name_comes_back_as_it_was(name, value):
    """As a value, in a new section, and in braces."""
    for keys in (("policies", "auto", "router"), ("routers", "fixed", "expert"), ("new",)):
        assert _at(loaded(with_value(TEXT, keys, value)), keys) == value
    if name not in ("auto", "cheap"):
        assert loaded(with_value(TEXT, ("policies", name), {"router": value}))["policies"][name] == {"router": value}


def _at(data, keys):
    for key in keys:
        data = data[key]
    return data


@pytest.mark.parametrize("separator", ["\u2028", "\x85"])
def test_lines_are_those_of_yaml(separator):
    text = f'note: "a{separator}b"\npolicies:\n  auto: {{}}\nend: 1\n'
    assert with_value(text, ("policies", "cheap"), "x") == text.replace("{}\n", "{}\n  cheap: x\n")
