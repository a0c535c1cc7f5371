"""Finding, reading and checking experts.yaml: every problem with its file, line, key, value and what was expected."""

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from orchestrator.errors import ConfigError
from orchestrator.fleet.configerrors import json_schema
from orchestrator.fleet.configfile import find_config, load_config, parse_config

ROOT = Path(__file__).parents[2]
FILE = Path("experts.yaml")
ECHO = "version: 1\nexperts:\n  - {name: a, backend: echo}\n"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, FILE)
    return str(caught.value).splitlines()


def test_the_shipped_file_is_valid_and_meets_its_own_schema():
    config = load_config(ROOT / "experts.yaml")
    assert [spec.name for spec in config.experts] == ["smollm2", "editor", "calculator", "minilm", "e5"]
    jsonschema.validate(YAML(typ="safe").load(ROOT / "experts.yaml"), json_schema())


def test_a_value_of_the_wrong_type_is_named_with_line_key_value_and_expectation():
    text = """\
version: 1
experts:
  - name: a
    backend: echo
  - name: b
    backend: echo
    price:
      input: cheap
"""
    assert problems(text) == ["experts.yaml:8: experts[1].price.input: got 'cheap', expected a number >= 0"]


def test_all_problems_are_told_at_once_in_the_order_of_the_file():
    text = """\
version: 2
experts:
  - {name: a, backend: opanai}
  - {name: b, backend: persona, base: nobody, system: hello}
  - {name: c, backend: echo, context: 0}
policies:
  auto: {lambda: -1}
enginee: local
"""
    assert problems(text) == [
        "experts.yaml:1: version: got 2, expected 1",
        "experts.yaml:3: experts[0].backend: got 'opanai', did you mean 'openai'?",
        "experts.yaml:4: experts[1].base: 'nobody' is no other expert; expected one of ['a', 'b', 'c']",
        "experts.yaml:5: experts[2].context: got 0, expected a whole number >= 1",
        "experts.yaml:7: policies.auto.lambda: got -1, expected a number >= 0",
        "experts.yaml:8: enginee: unknown key, did you mean 'engine'?",
    ]


def test_dangling_names_are_told_together_with_broken_parts():
    text = ECHO + "  - {name: b, backend: echo, context: 0}\npolicies:\n  auto: {router: nowhere}\n"
    assert problems(text) == [
        "experts.yaml:4: experts[1].context: got 0, expected a whole number >= 1",
        "experts.yaml:6: policies.auto.router: 'nowhere' is no router; expected one of ['default']",
    ]


def test_what_is_broken_itself_can_still_be_named_by_others():
    text = (
        ECHO
        + "  - {name: b, backend: echo, context: 0}\nrouters:\n  r: {tipe: x}\npolicies:\n  p: {experts: [b], router: r}\n"
    )
    assert problems(text) == [
        "experts.yaml:4: experts[1].context: got 0, expected a whole number >= 1",
        "experts.yaml:6: routers.r: expected the `type` of a router, or the `artifact` of a trained one",
    ]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("name: b", "experts[0].backend: missing, expected one of command, echo,"),
        ("name: b, backend: echo, prise: {}", "experts[0].prise: unknown key, did you mean 'price'?"),
        ("name: b, backend: echo, zzz: 1", "experts[0].zzz: unknown key, expected one of backend,"),
        ("name: 'no spaces', backend: echo", "experts[0].name: got 'no spaces', expected text matching ^[A-Za-z0-9]"),
        ("name: b, backend: openai", "experts[0].base_url: missing, expected text matching ^https?://"),
        ("name: b, backend: command, command: serve", "experts[0]: the command must contain {port}"),
        ("name: b, backend: command, command: [1]", "experts[0].command[0]: got 1, expected text"),
        ("name: b, backend: command, command: 3", "experts[0].command: got 3, expected a list or text"),
        (
            "name: b, backend: echo, capabilities: [fly]",
            "experts[0].capabilities[0]: got 'fly', expected one of 'strea",
        ),
        (
            "name: b, backend: echo, limits: [1]",
            "experts[0].limits: got a list, expected a mapping with concurrency, rpm",
        ),
        (
            "name: b, backend: llamacpp, model: x.gguf",
            "experts[0].model: got 'x.gguf', expected a mapping with pypi, file",
        ),
        (
            "name: b, backend: llamacpp, model: {hf: a/b, revison: c}",
            "experts[0].model.revison: unknown key, did you mean 'rev",
        ),
        (
            "name: b, backend: vllm, model: {pypi: a, file: f, sha256: 'x'}",
            "experts[0].model.pypi: got 'a', expected te",
        ),
        (
            f"name: b, backend: llamacpp, model: {{hf: a/b, sha256: {'f' * 64}}}",
            "experts[0].model: sha256 is the hash of",
        ),
        ("name: b, backend: echo, price: {input: .nan}", "experts[0].price.input: got NaN, expected a number >= 0"),
        ("name: b, backend: echo, price: null", "experts[0].price: got null, expected a mapping with input, output"),
    ],
)
def test_what_is_wrong_with_an_expert(entry, expected):
    lines = problems(f"version: 1\nexperts:\n  - {{{entry}}}\n")
    assert lines[0].startswith(f"experts.yaml:3: {expected}")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (
            "artifact: a, type: skills",
            ": a trained router has `artifact` and perhaps `examples`, and nothing else; got 'type'",
        ),
        (
            "artifact: a, seed: 3",
            ": a trained router has `artifact` and perhaps `examples`, and nothing else; got 'seed'",
        ),
        ("artifact: 3", ".artifact: got 3, expected a path"),
        (
            "type: skills, examples: new.jsonl",
            ": `examples` belongs to an `artifact`; a router of type 'skills' has none",
        ),
        ("type: skils", ".type: got 'skils', did you mean 'skills'?"),
    ],
)
def test_what_is_wrong_with_a_router(entry, expected):
    assert problems(f"{ECHO}routers:\n  support: {{{entry}}}\n") == [f"experts.yaml:5: routers.support{expected}"]


def test_every_router_that_a_policy_names_must_be_there():
    text = ECHO + "policies:\n  auto: {router: default, previous: x, shadow: y}\n"
    assert problems(text) == [
        "experts.yaml:5: policies.auto.previous: 'x' is no router; expected one of ['default']",
        "experts.yaml:5: policies.auto.shadow: 'y' is no router; expected one of ['default']",
    ]


def test_a_trained_router_whose_files_are_not_there_is_named(tmp_path):
    path = tmp_path / "experts.yaml"
    path.write_text(ECHO + "routers:\n  support:\n    artifact: artifacts/support\n    examples: new.jsonl\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert [line.removeprefix(str(path)) for line in str(caught.value).splitlines()] == [
        ":6: routers.support.artifact: got 'artifacts/support', expected the folder of a trained router",
        ":7: routers.support.examples: got 'new.jsonl', expected an outcome file that exists",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "experts.yaml:1: the file is empty, expected a mapping with version and experts"),
        ("# nothing yet\n", "experts.yaml:1: the file is empty, expected a mapping with version and experts"),
        ("\n- a\n", "experts.yaml:2: got a list, expected a mapping with version and experts"),
        ("version: 1\nexperts: [\n", "experts.yaml:3: not valid YAML: "),
        ("version: 1\nexperts:\n- a: b: c\n", "experts.yaml:3: not valid YAML: mapping values are not allowed here"),
        (
            "version: !secret 1",
            "experts.yaml:1: not valid YAML: could not determine a constructor for the tag '!secret'",
        ),
        ("a: 1\nb: \x01", "experts.yaml:2: not valid YAML: unacceptable character #x0001"),
        ("[" * 5000, "experts.yaml: not valid YAML: maximum recursion depth exceeded"),
        ("version: 1\nexperts: []\n", "experts.yaml:2: experts: got an empty list, expected a list that isn't empty"),
        (ECHO + "3: x\n", "experts.yaml:4: [3]: expected a key that is text; put it in quotes"),
        (ECHO + "version: 1\n", "experts.yaml:1: version: the key stands twice, in lines 1 and 4"),
        (
            ECHO + "  - {name: a, backend: echo}\n",
            "experts.yaml:4: experts[1].name: 'a' is already the name of experts[0]",
        ),
        (
            ECHO + "routers:\n  r: {type: skils}\n",
            "experts.yaml:5: routers.r.type: got 'skils', did you mean 'skills'?",
        ),
        (ECHO + "routers:\n  r: {type: random, sed: 1}\n", "experts.yaml:5: routers.r: unknown parameter 'sed'"),
        (
            ECHO + "panels:\n  p: {experts: [a], aggregator: zzz}\n",
            "experts.yaml:5: panels.p.aggregator: got 'zzz', expec",
        ),
        (
            ECHO + "panels:\n  p:\n    experts:\n      - a\n      - a\n    quorum: 2\n",
            "experts.yaml:8: panels.p.experts[1]: 'a' is a member already; expected each once",
        ),
        (
            ECHO + "panels:\n  p:\n    experts: [a]\n    aggregator: vote\n    judge: a\n",
            "experts.yaml:8: panels.p.judge: 'vote' asks no judge; expected none",
        ),
        (
            ECHO + "panels:\n  p: {experts: [a], aggregator: medprompt}\n",
            "experts.yaml:5: panels.p: missing parameter 'demonstrations' of the aggregator 'medprompt'",
        ),
        (
            ECHO + "panels:\n  p: {experts: [a], aggregator: best_of, calibrate: true, style: pairwise}\n",
            "experts.yaml:5: panels.p: calibrate: ",
        ),
    ],
)
def test_what_is_wrong_with_a_file(text, expected):
    assert problems(text)[0].startswith(expected)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("residency: {sleep: 3, memory_gb: 9}", ".residency.sleep: got 3, expected one of 1, 2"),
        ("residency: {sleep: 1}", ".residency: a server that sleeps gives back `memory_gb`, which must be given"),
        ("residency: {sleep: 1, memory_gb: 9, asleep_gb: -2}", ".residency.asleep_gb: got -2, expected a number > 0"),
        ("residency: {asleep_gb: 1}", ".residency: `asleep_gb` is for servers that sleep; expected `sleep: 1` or"),
        ("kind: embedding, residency: {sleep: 1, memory_gb: 9}", ": `sleep` is for experts that write text"),
    ],
)
def test_what_is_wrong_with_a_server_that_sleeps(keys, expected):
    text = f"version: 1\nexperts:\n  - {{name: qwen, backend: vllm, model: m, {keys}}}\n"
    assert problems(text)[0].startswith(f"experts.yaml:3: experts[0]{expected}")


def test_only_backends_whose_servers_can_sleep_are_told_to():
    text = "version: 1\nexperts:\n  - {name: a, backend: llamacpp, model: {path: a.gguf}, residency: {sleep: 1}}\n"
    assert problems(text)[0].startswith(
        "experts.yaml:3: experts[0].residency.sleep: only for backend vllm; expected one of"
    )


SERVERS = """\
version: 1
memory: {budget_gb: 0.3}
experts:
  - {name: a, backend: command, command: "serve {port}", residency: {memory_gb: 0.1, pin: true}}
  - {name: b, backend: command, command: "serve {port}", residency: {memory_gb: 0.2}}
"""


def test_what_pinned_experts_leave_is_enough_to_the_byte():
    for text in (SERVERS, SERVERS.replace("0.2}", "0.2, pin: true}")):
        assert parse_config(text, FILE).memory.budget_gb == 0.3


def test_who_does_not_fit_beside_the_pinned_ones_is_told_with_its_place():
    assert problems(SERVERS.replace("0.2}", "0.25}")) == [
        "experts.yaml:5: experts[1].residency.memory_gb: got 0.25, and memory.budget_gb has 0.3, "
        "of which pinned experts (a) take 0.1"
    ]


def test_more_pinned_than_there_is_room_for_is_told_at_each():
    taken = "the pinned experts (a, b) take 0.35 GB together, and memory.budget_gb has 0.3"
    assert problems(SERVERS.replace("0.2}", "0.25, pin: true}")) == [
        f"experts.yaml:4: experts[0].residency.pin: {taken}",
        f"experts.yaml:5: experts[1].residency.pin: {taken}",
    ]


LLAMAS = """\
version: 1
memory: {budget_gb: 4}
experts:
  - {name: small, backend: llamacpp, model: {path: s.gguf}, residency: {memory_gb: 1}}
  - {name: large, backend: llamacpp, model: {path: l.gguf}, residency: {memory_gb: 3.5}}
  - {name: unknown, backend: llamacpp, model: {path: u.gguf}}
  - {name: vectors, backend: llamacpp, kind: embedding, model: {path: v.gguf}}
  - {name: echo, backend: echo}
  - {name: pirate, backend: persona, base: small, system: You are a pirate.}
  - {name: parrot, backend: persona, base: echo, system: You are a parrot.}
  - {name: stranger, backend: persona, base: small, identity: synthesised}
panels:
"""


@pytest.mark.parametrize(
    ("panel", "expected"),
    [
        ("{experts: [small, echo], aggregator: logits}", ".experts[1]: 'echo' has no next tokens for logits; "),
        ("{experts: [small, parrot], aggregator: contrast}", ".experts[1]: 'parrot' has no next tokens for contrast"),
        ("{experts: [small, stranger], aggregator: logits}", ".experts[1]: 'stranger' has no next tokens for logits"),
        ("{experts: [vectors, small], aggregator: logits}", ".experts[0]: 'vectors' has no next tokens for logits"),
        ("{experts: [small, panel/ok], aggregator: logits}", ".experts[1]: 'panel/ok' has no next tokens for logits"),
        ("{experts: [small], aggregator: logits}", ": experts: got small, expected 1 more"),
        ("{experts: [small, pirate], aggregator: contrast, strong: nobody}", ": strong: got 'nobody', expected one of"),
        (
            "{experts: [small, pirate], aggregator: dynamic_logits, base: unknown}",
            ": base: got 'unknown', expected one of",
        ),
        ("{experts: [small, pirate], aggregator: dynamic_logits}", ": experts: got small, pirate, expected 1 more"),
        ("{experts: [small, pirate], aggregator: contrast, strong: small, weak: small}", ": weak: got 'small', which"),
        ("{experts: [small, pirate], aggregator: logits, prior: {smal: 2}}", ": prior: got 'smal', expected some of"),
        (
            "{experts: [pirate, large], aggregator: logits}",
            ".experts: must be in memory together: small, large take 4.5 GB, and memory.budget_gb has 4",
        ),
    ],
)
def test_members_that_could_never_write_together_are_told_with_their_line(panel, expected):
    text = f"{LLAMAS}  ok: {{experts: [small, echo]}}\n  p: {panel}\n"
    assert problems(text)[0].startswith(f"experts.yaml:14: panels.p{expected}")


@pytest.mark.parametrize(
    "panel",
    [
        "{experts: [small, pirate, unknown], aggregator: logits}",
        "{experts: [large, unknown], aggregator: logits}",
        "{experts: [small, pirate, large], aggregator: contrast, strong: pirate}",
        "{experts: [small, pirate], aggregator: dynamic_logits, large: small, base: small}",
    ],
)
def test_members_that_may_write_together_are_fine(panel):
    assert parse_config(f"{LLAMAS}  p: {panel}\n", FILE)


def test_what_is_wrong_with_a_member_is_not_told_of_its_panel_too():
    text = (
        LLAMAS.replace("model: {path: s.gguf}", "modl: s.gguf")
        + "  p: {experts: [small, unknown], aggregator: logits}\n"
    )
    assert {line.partition(": ")[0] for line in problems(text)} == {"experts.yaml:4"}


def test_paths_of_panels_that_are_not_there_are_told_all_at_once(tmp_path):
    path = tmp_path / "experts.yaml"
    path.write_text(
        ECHO
        + "panels:\n"
        + "  b: {experts: [a], aggregator: synthesis, aggregation: none.json}\n"
        + "  c: {experts: [a], aggregator: synthesis, prompts: none}\n"
        + "  f: {experts: [a], aggregator: fusion_of_experts, artifact: none}\n"
        + "  m: {experts: [a], aggregator: medprompt, demonstrations: none.jsonl}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert [line.removeprefix(str(path)) for line in str(caught.value).splitlines()] == [
        ":5: panels.b.aggregation: got 'none.json', expected a file that exists",
        ":6: panels.c.prompts: got 'none', expected a folder that exists",
        ":7: panels.f.artifact: got 'none', expected a file or folder that exists",
        ":8: panels.m.demonstrations: got 'none.jsonl', expected a file or folder that exists",
    ]


def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path):
    path = tmp_path / "experts.yaml"
    path.write_bytes(ECHO.encode() + "# Gr\xfc\xdfe\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"experts\.yaml:4: got the byte 0xfc, expected UTF-8 text"):
        load_config(path)


def test_an_unset_variable_and_missing_files_are_named(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    path = tmp_path / "experts.yaml"
    path.write_text(
        """\
version: 1
gateway: {keys_file: keys.txt}
experts:
  - {name: a, backend: openai, base_url: "http://127.0.0.1:1/v1", api_key_env: NO_SUCH_KEY}
  - {name: b, backend: llamacpp, model: {path: b.gguf}}
  - {name: c, backend: replay, answers: c.jsonl}
"""
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert [line.removeprefix(str(path)) for line in str(caught.value).splitlines()] == [
        ":2: gateway.keys_file: got 'keys.txt', expected a file that exists",
        ":4: experts[0].api_key_env: got 'NO_SUCH_KEY', expected an environment variable that is set",
        ":5: experts[1].model.path: got 'b.gguf', expected a file that exists",
        ":6: experts[2].answers: got 'c.jsonl', expected a file that exists",
    ]
    for name in ("keys.txt", "b.gguf", "c.jsonl"):
        (tmp_path / name).touch()
    monkeypatch.setenv("NO_SUCH_KEY", "sk-1")
    assert len(load_config(path).experts) == 3


def test_a_key_in_the_place_of_its_variable_is_not_repeated(tmp_path):
    path = tmp_path / "experts.yaml"
    path.write_text(
        "version: 1\nexperts:\n"
        "  - {name: a, backend: openai, base_url: 'http://x', api_key_env: sk-proj-1234}\n"
        "  - {name: b, backend: openai, base_url: 'http://x', headers: sk-proj-1234, api_key: sk-proj-1234}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert "sk-proj" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3


def test_a_key_that_comes_by_merging_is_found_at_its_mapping():
    text = "version: 1\nexperts:\n- &a {name: a, backend: echo}\n- {<<: *a, name: b, context: x}\n- {<<: *a, name: c, price: 1}\n"
    assert [line.partition(": experts")[0] for line in problems(text)] == ["experts.yaml:4", "experts.yaml:5"]


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["version", "experts", "name", "backend", "echo", "vllm", "model", "panels", "routers"])
                | st.text(max_size=5),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_no_json_breaks_the_reader(data):
    text = json.dumps(
        {"version": 1, "experts": [{"name": "a", "backend": "vllm", "model": data}, data], "panels": data}
    )
    try:
        parse_config(text, FILE)
    except ConfigError as error:
        assert all(line.startswith("experts.yaml:") for line in str(error).splitlines())


def test_the_file_is_looked_for_at_the_option_the_variable_and_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWITCHYARD_CONFIG", raising=False)
    with pytest.raises(ConfigError, match=r"no experts\.yaml in this folder"):
        find_config(None)
    for name in ("experts.yaml", "variable.yaml", "option.yaml"):
        (tmp_path / name).touch()
    assert find_config(None) == Path("experts.yaml")
    monkeypatch.setenv("SWITCHYARD_CONFIG", "variable.yaml")
    assert find_config(None) == Path("variable.yaml")
    assert find_config(Path("option.yaml")) == Path("option.yaml")
    with pytest.raises(ConfigError, match=r"gone\.yaml: no such file \(given on the command line\)"):
        find_config(Path("gone.yaml"))
    monkeypatch.setenv("SWITCHYARD_CONFIG", "gone.yaml")
    with pytest.raises(ConfigError, match=r"given by \$SWITCHYARD_CONFIG"):
        find_config(None)
