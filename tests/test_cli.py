"""The command line as a user runs it: what it prints, where, and with which exit code."""

import json

import jsonschema
import pytest

from orchestrator.fleet.configfile import load_config
from orchestrator.gateway.app import create_app
from orchestrator.gateway.auth import KeyRing
from orchestrator.scheduler.base import MemoryStatus
from tests.support.cli import switchyard
from tests.support.gateway import make_context, served
from tests.support.pipeline import FakePipeline, FakeScheduler, make_status
from tests.support.service import write_config

ECHO = "version: 1\ngateway: {port: 1}\nexperts:\n  - {name: parrot, backend: echo}\n"
CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": "%b"}}]}\n\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "experts.yaml").write_text(ECHO)
    return tmp_path


async def test_help_lists_the_commands_that_exist(tmp_path):
    result = await switchyard("--help", cwd=tmp_path)
    assert result.code == 0
    for command in ("serve", "ask", "check", "pull", "experts"):
        assert f" {command} " in result.out


async def test_wrong_usage_is_exit_code_2(tmp_path):
    assert (await switchyard("serve", "--prot", "1", cwd=tmp_path)).code == 2


async def test_an_error_is_one_line_and_exit_code_1(tmp_path):
    result = await switchyard("check", cwd=tmp_path)
    assert (result.code, result.out) == (1, "")
    assert result.err == "no experts.yaml in this folder: give --config FILE, or set $SWITCHYARD_CONFIG\n"


async def test_check_tells_every_problem_of_the_file(folder):
    (folder / "bad.yaml").write_text(ECHO + "  - {name: b, backend: ecko}\nzzz: 1\n")
    result = await switchyard("check", "bad.yaml", cwd=folder)
    assert result.code == 1
    assert [line.partition(" ")[0] for line in result.err.splitlines()] == ["bad.yaml:5:", "bad.yaml:6:"]


async def test_check_takes_its_file_like_every_command_or_as_its_argument(folder):
    result = await switchyard("check", "--config", "experts.yaml", "--no-probe", cwd=folder)
    assert (result.code, result.out) == (0, "experts.yaml: valid, 1 experts\n")
    result = await switchyard("check", "experts.yaml", "--config", "other.yaml", cwd=folder)
    assert (result.code, result.err) == (1, "got both experts.yaml and --config other.yaml, expected one of them\n")


@pytest.mark.parametrize(
    "command", [("check", "big.yaml", "--no-probe"), ("serve", "--config", "big.yaml", "--port", "0")]
)
async def test_an_expert_that_memory_can_never_hold_is_told_before_anything_starts(folder, command):
    expert = '  - {name: big, backend: command, command: "serve {port}", residency: {memory_gb: 9}}\n'
    (folder / "big.yaml").write_text(f"version: 1\nmemory: {{budget_gb: 1}}\nexperts:\n{expert}")
    result = await switchyard(*command, cwd=folder)
    assert (result.code, result.out) == (1, "")
    assert result.err == "big.yaml:4: experts[0].residency.memory_gb: got 9, and memory.budget_gb has 1\n"


async def test_check_prints_a_schema_that_editors_use(tmp_path):
    result = await switchyard("check", "--schema", cwd=tmp_path)
    jsonschema.Draft202012Validator.check_schema(json.loads(result.out))


async def test_check_asks_every_expert(folder):
    (folder / "experts.yaml").write_text(
        ECHO
        + "  - {name: vectors, backend: echo, kind: embedding}\n"
        + "  - {name: gone, backend: openai, base_url: 'http://127.0.0.1:1/v1'}\n"
    )
    result = await switchyard("check", "--json", cwd=folder)
    probes = json.loads(result.out)["probes"]
    assert {probe["expert"]: probe["ok"] for probe in probes} == {"parrot": True, "vectors": True, "gone": False}
    assert result.code == 1
    assert (await switchyard("check", "--no-probe", cwd=folder)).code == 0


async def test_experts_are_listed_from_the_yaml(folder):
    result = await switchyard("experts", "list", "--json", cwd=folder)
    (expert,) = json.loads(result.out)
    assert (expert["name"], expert["backend"], expert["price"]) == ("parrot", "echo", {"input": 0.0, "output": 0.0})
    table = (await switchyard("experts", "list", cwd=folder)).out.splitlines()
    assert [line.split()[0] for line in table] == ["expert", "parrot"]


async def test_experts_of_a_running_gateway_are_listed_with_what_they_take(folder):
    statuses = [make_status("gpt", "remote"), make_status("small", "ready", leases=2, memory_bytes=3 * 10**9, loads=1)]
    scheduler = FakeScheduler(statuses=statuses, memory_status=MemoryStatus(8 * 10**9, 3 * 10**9, 0, 0))
    async with served(create_app(make_context(scheduler=scheduler))) as url:
        lines = (await switchyard("experts", "list", "--url", url, cwd=folder)).out.splitlines()
    assert [line.split() for line in lines] == [
        ["expert", "state", "leases", "waiting", "GB", "loads", "last", "error"],
        ["gpt", "remote", "0", "0", "0.0", "0"],
        ["small", "ready", "2", "0", "3.0", "1"],
        ["this", "machine:", "3.0", "GB", "of", "8.0", "in", "use"],
    ]


async def test_on_a_cluster_replicas_in_use_are_listed_with_their_nodes(folder):
    statuses = [
        *(make_status("small", state, node=f"10.0.0.{i}") for i, state in enumerate(("ready", "cold", "loading"))),
        *(make_status("large", "cold", node=f"10.0.0.{i}", last_error="no room") for i in range(2)),
    ]
    memory = MemoryStatus(10**9, 0, 0, 0, {"10.0.0.0": MemoryStatus(10**9, 0, 0, 0)})
    scheduler = FakeScheduler(statuses=statuses, memory_status=memory)
    async with served(create_app(make_context(scheduler=scheduler))) as url:
        table = (await switchyard("experts", "list", "--url", url, cwd=folder)).out.splitlines()
        told = json.loads((await switchyard("experts", "list", "--url", url, "--json", cwd=folder)).out)
    assert [line.split()[:3] for line in table[:4]] == [
        ["expert", "node", "state"],
        ["small", "10.0.0.0", "ready"],
        ["small", "10.0.0.2", "loading"],
        ["large", "cold", "0"],
    ]
    assert table[4] == "10.0.0.0: 0.0 GB of 1.0 in use"
    assert len(told["data"]) == 5


async def test_an_expert_is_added_and_removed(folder):
    settings = ["backend=openai", "base_url=https://api.example.com/v1", "price.input=2.5"]
    assert (await switchyard("experts", "add", "gpt", *settings, cwd=folder)).code == 0
    assert [spec.name for spec in load_config(folder / "experts.yaml").experts] == ["parrot", "gpt"]
    assert (await switchyard("experts", "remove", "gpt", cwd=folder)).code == 0
    assert (folder / "experts.yaml").read_text() == ECHO


async def test_adding_an_expert_whose_key_is_not_set_says_what_the_gateway_will_say(folder):
    settings = ["backend=openai", "base_url=https://api.example.com/v1", "api_key_env=SWITCHYARD_TEST_UNSET"]
    result = await switchyard("experts", "add", "gpt", *settings, cwd=folder)
    assert result.code == 0
    assert "note: the gateway refuses this file" in result.err
    assert "got 'SWITCHYARD_TEST_UNSET', expected an environment variable that is set" in result.err


async def test_pull_refuses_an_unknown_expert(folder):
    result = await switchyard("pull", "nobody", cwd=folder)
    assert (result.code, result.err) == (1, "'nobody' is no expert; expected one of parrot\n")


async def test_ask_streams_the_answer_of_a_running_gateway_and_explains_it(folder):
    pipeline = FakePipeline(events=[CHUNK % b"It is ", CHUNK % b"391.", b"data: [DONE]\n\n"])
    async with served(create_app(make_context(pipeline))) as url:
        result = await switchyard("ask", "What is 17 * 23?", "--url", url, "--explain", cwd=folder)
    assert result.code == 0, result.err
    answer, _, header, *rows, reason = result.out.splitlines()
    assert answer == "It is 391."
    assert header.split() == ["expert", "reward", "utility", "wait", "s", "out", "because"]
    assert [row.split() for row in rows] == [[">", "small", "0.800"], ["large", "0.900"]]
    assert "imposed" not in header, "no load would have made anybody wait"
    assert reason.startswith("small has the highest utility of 2  (policy auto, decision ")
    assert pipeline.queries[0].text == "What is 17 * 23?"


class Weighing(FakePipeline):
    """Its decisions say that loading `large` would have made others wait."""

    async def answer(self, query, present):
        reply = await super().answer(query, present)
        reply.decision.waits_s |= {"small": 0.0, "large": 2.5}
        reply.decision.imposed_s |= {"large": 1.5}
        return reply


async def test_what_a_load_would_make_others_wait_has_a_column_where_one_would(folder):
    async with served(create_app(make_context(Weighing(events=[CHUNK % b"391", b"data: [DONE]\n\n"])))) as url:
        result = await switchyard("ask", "What is 17 * 23?", "--url", url, "--explain", cwd=folder)
    header, *rows, _ = [line.split() for line in result.out.splitlines()[2:]]
    assert header == ["expert", "reward", "utility", "wait", "s", "imposed", "s", "out", "because"]
    assert rows == [[">", "small", "0.800", "0.000"], ["large", "0.900", "2.500", "1.500"]]


async def test_of_a_panel_it_shows_who_said_what(tmp_path):
    experts = [{"name": name, "backend": "echo"} for name in ("left", "right")]
    panels = {"both": {"experts": ["left", "right"], "aggregator": "vote"}}
    write_config(tmp_path, *experts, panels=panels, gateway={"port": 1})  # where no gateway listens
    result = await switchyard("ask", "Six\nor seven?", "--model", "panel/both", "--explain", cwd=tmp_path)
    assert result.code == 0, result.err
    lines = [line.split() for line in result.out.splitlines()]
    assert ["answers", "left", "Six", "or", "seven?"] in lines
    asked = [line[:2] for line in lines if "ok" in line]
    assert asked == [["left", "answer"], ["right", "answer"], ["panel/both", "panel"]]
    assert "vote: 2 of 2 agree; rests on left, right  (policy panel/both" in result.out


async def test_ask_prints_json(folder):
    async with served(create_app(make_context(FakePipeline(events=[CHUNK % b"Hi", b"data: [DONE]\n\n"])))) as url:
        result = await switchyard("ask", "Hello", "--url", url, "--json", cwd=folder)
    said = json.loads(result.out)
    assert (said["answer"], said["switchyard"]["expert"]) == ("Hi", "small")


async def test_what_the_gateway_refuses_is_told_with_its_reason(folder):
    keys = KeyRing.load({"SWITCHYARD_API_KEYS": "sk-right"})
    async with served(create_app(make_context(keys=keys))) as url:
        refused = await switchyard("ask", "Hello", "--url", url, cwd=folder, SWITCHYARD_API_KEY="sk-wrong")
        allowed = await switchyard("ask", "Hello", "--url", url, cwd=folder, SWITCHYARD_API_KEY="sk-right")
    assert refused.code == 1
    assert len(refused.err.splitlines()) == 1
    assert allowed.code == 0


async def test_ask_without_a_gateway_answers_in_its_own_process(folder):
    result = await switchyard("ask", "Hello there", "--json", cwd=folder)
    assert result.code == 0, result.err
    said = json.loads(result.out)
    assert "Hello there" in said["answer"]
    assert said["switchyard"]["expert"] == "parrot"
    assert said["switchyard"]["decision_id"].startswith("sw-"), "the query is read as the gateway reads it"


async def test_a_gateway_that_is_named_must_be_there(folder):
    result = await switchyard("ask", "Hello", "--url", "http://127.0.0.1:1", cwd=folder)
    assert result.code == 1
    assert result.err.startswith("the gateway at http://127.0.0.1:1 could not be asked")


async def test_warm_and_unload_reach_the_running_gateway(folder):
    scheduler = FakeScheduler()
    async with served(create_app(make_context(scheduler=scheduler))) as url:
        for verb in ("warm", "unload"):
            await switchyard("experts", verb, "small", "--url", url, cwd=folder)
        unknown = await switchyard("experts", "warm", "nobody", "--url", url, cwd=folder)
    assert scheduler.calls == [("warm", "small"), ("unload", "small")]
    assert (unknown.code, unknown.err) == (1, "There is no expert 'nobody'.\n")


async def test_without_a_gateway_warm_says_how_to_start_one(folder):
    result = await switchyard("experts", "warm", "parrot", cwd=folder)
    assert result.err == "no gateway answers at http://127.0.0.1:1; start one with `switchyard serve`\n"


@pytest.mark.parametrize("out", [".", "nowhere/o.jsonl"])
async def test_an_export_that_cannot_be_written_is_one_line(folder, out):
    result = await switchyard("export", "--out", out, cwd=folder)
    assert result.code == 1
    assert result.err.startswith(f"{out}: ")
    assert result.err.count("\n") == 1
