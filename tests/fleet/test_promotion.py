"""A trained router goes live by an edit of the YAML that a person can read and undo."""

import pytest

from orchestrator.errors import ConfigError
from orchestrator.fleet.configfile import load_config
from orchestrator.fleet.promotion import promote, roll_back
from tests.support.artifacts import trained

TEXT = """\
version: 1
experts:
  - {name: a, backend: echo}
  - {name: b, backend: echo}

# How scores are made.
routers:
  default: {type: fixed}   # the first one

policies:
  auto: {router: default, lambda: 0.2}   # for everybody
  other: {}
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "experts.yaml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def artifact(tmp_path):
    return trained(tmp_path / "support", good_at_sums="b", good_at_chat="a")


def test_the_yaml_says_what_is_live_and_what_was_before(path, artifact):
    name = promote(path, artifact, policy="auto").router
    entry = f"  {name}: {{artifact: .switchyard/routers/{name}}}\n"
    expected = TEXT.replace("# the first one\n", f"# the first one\n{entry}")
    assert path.read_text() == expected.replace(
        "{router: default, lambda: 0.2}", f"{{router: {name}, lambda: 0.2, previous: default}}"
    )


def test_what_is_live_is_a_copy_of_its_own(path, artifact):
    name = promote(path, artifact, policy="auto").router
    trained(artifact, good_at_sums="a", good_at_chat="b")
    again = promote(path, artifact, policy="auto")
    assert again.router != name == again.previous
    assert {path.name for path in (path.parent / ".switchyard" / "routers").iterdir()} == {name, again.router}


def test_promoting_again_changes_nothing(path, artifact):
    promote(path, artifact, policy="auto")
    text = path.read_text()
    promote(path, artifact, policy="auto")
    assert path.read_text() == text


def test_rolling_back_exchanges_the_two(path, artifact):
    name = promote(path, artifact, policy="auto").router
    live = roll_back(path, policy="auto")
    assert (live.router, live.previous) == ("default", name)
    assert roll_back(path, policy="auto").router == name


def test_routers_that_no_policy_names_leave_the_yaml(path, artifact):
    names = []
    for sums, chat, policy in (("b", "a", "auto"), ("a", "b", "auto"), ("b", "b2", "auto")):
        trained(artifact, good_at_sums=sums, good_at_chat=chat)
        names.append(promote(path, artifact, policy=policy).router)
    assert list(load_config(path).routers) == ["default", *names[1:]]


def test_a_policy_that_is_not_declared_is_made(path, artifact):
    path.write_text("version: 1\nexperts:\n- {name: a, backend: echo}\n- {name: b, backend: echo}\n")
    live = promote(path, artifact, policy="auto")
    assert load_config(path).policies == {"auto": live}
    assert live.previous == "default"


def test_a_shadow_changes_nothing_until_it_is_promoted(path, artifact):
    live = promote(path, artifact, policy="auto", shadow=True)
    assert (live.router, live.previous) == ("default", None)
    promoted = promote(path, artifact, policy="auto")
    assert (promoted.router, promoted.shadow) == (live.shadow, None)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda folder: (folder / "weights.safetensors").write_bytes(b""), r"weights\.safetensors: damaged"),
        (lambda folder: (folder / "config.json").unlink(), r"config\.json: can't be read"),
        (lambda folder: trained(folder, good_at_sums="x", good_at_chat="y"), "of which this fleet has none"),
    ],
    ids=["damaged", "no artifact", "another fleet"],
)
def test_what_the_gateway_would_refuse_is_refused_before(path, artifact, change, expected):
    change(artifact)
    with pytest.raises(ConfigError, match=expected):
        promote(path, artifact, policy="auto")
    assert path.read_text() == TEXT
    assert not (path.parent / ".switchyard").exists()


def test_a_copy_that_was_damaged_is_made_anew(path, artifact):
    name = promote(path, artifact, policy="auto").router
    copy = path.parent / ".switchyard" / "routers" / name
    (copy / "weights.safetensors").write_bytes(b"")
    promote(path, artifact, policy="auto")
    assert (copy / "weights.safetensors").read_bytes() == (artifact / "weights.safetensors").read_bytes()
    assert [place.name for place in copy.parent.iterdir()] == [name]


def test_there_is_no_way_back_to_a_router_that_is_damaged(path, artifact):
    name = promote(path, artifact, policy="auto").router
    roll_back(path, policy="auto")
    text = path.read_text()
    (path.parent / ".switchyard" / "routers" / name / "weights.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match=f"routers.{name}: .*damaged"):
        roll_back(path, policy="auto")
    assert path.read_text() == text


def test_a_place_that_no_copy_can_be_put_in_is_told(path, artifact):
    (path.parent / ".switchyard").write_text("a file")
    with pytest.raises(ConfigError, match="can't be written"):
        promote(path, artifact, policy="auto")
    assert path.read_text() == TEXT


def test_a_policy_that_is_none_is_told_those_there_are(path, artifact):
    with pytest.raises(ConfigError, match="'best' is no policy; expected one of auto, other"):
        promote(path, artifact, policy="best")


def test_nothing_to_return_to_is_an_error(path):
    with pytest.raises(ConfigError, match=r"policies\.auto has no `previous` router"):
        roll_back(path, policy="auto")


def test_a_policy_shared_by_an_alias_is_left_alone(path, artifact):
    text = TEXT.replace("auto: {", "auto: &same {").replace("other: {}", "other: *same")
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"policies\.auto is shared with another policy by an alias"):
        promote(path, artifact, policy="auto")
    assert path.read_text() == text
