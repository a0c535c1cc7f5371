"""`switchyard experts place`."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from orchestrator.commands.placement import place
from orchestrator.errors import ConfigError, DataError
from orchestrator.fleet.configfile import read_config
from orchestrator.gateway.app import create_app
from orchestrator.scheduler.base import MemoryStatus
from orchestrator.service import make_ledger
from orchestrator.types import Attempt, Decision
from tests.support.cli import switchyard
from tests.support.gateway import make_context, served
from tests.support.pipeline import FakeScheduler, make_status

CLUSTER = """\
nodes: [{name: left, memory_gb: 4}, {name: right, memory_gb: 4, site: far}]
links: {near_s: 0.001, far_s: 0.05}
experts: [{name: a, memory_gb: 2, rate_per_s: 1, service_s: 0.4}, {name: b, memory_gb: 2, rate_per_s: 1, service_s: 0.4}]
current: {left: [a, b]}
"""
NODES = "nodes: [{name: left, memory_gb: 4}, {name: right, memory_gb: 4}]\ncurrent: {left: [a, b]}\n"
FLEET = """\
version: 1
experts:
  - {name: a, backend: command, command: "serve {port}", residency: {memory_gb: 2}, limits: {concurrency: 1}}
  - {name: b, backend: command, command: "serve {port}", residency: {memory_gb: 2.0}}
  - {name: c, backend: persona, base: b, identity: synthesised}
  - {name: gpt, backend: echo}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWITCHYARD_CONFIG", raising=False)
    for name, text in (("cluster", CLUSTER), ("nodes", NODES), ("experts", FLEET)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def placed(capsys, path="cluster.yaml", **options):
    place(Path(path), as_json=True, **options)
    return json.loads(capsys.readouterr().out)


def test_experts_are_spread_and_the_moves_are_named(folder, capsys):
    body = placed(capsys)
    assert body["staying"]["busiest"] == pytest.approx(0.8)
    assert body["cost"]["busiest"] == pytest.approx(0.4)
    assert [(move["node"], move["memory_bytes"]) for move in body["moves"]] == [("right", 2_000_000_000)]
    assert sorted(node["load"] for node in body["nodes"].values()) == pytest.approx([0.4, 0.4])
    assert body["gap"] == pytest.approx(0.0, abs=1e-3)


async def test_it_is_told_in_words(folder):
    told = await switchyard("experts", "place", "cluster.yaml", cwd=folder)
    assert told.code == 0
    assert "on right: 2.0 GB, 2.0 s" in told.out
    assert "moving nothing: 0.800" in told.out
    assert told.err == ""


def test_a_gain_too_small_leaves_all_in_place(folder, capsys):
    place(Path("cluster.yaml"), min_gain=0.9)
    assert capsys.readouterr().out.splitlines()[-1] == "nothing to move"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nodes: [{name: left, memory: 4}]", r":1: nodes\[0\].memory: unknown key, did you mean 'memory_gb'\?"),
        ("nodes:\n- {name: left, memory_gb: lots}", r":2: nodes\[0\].memory_gb: got 'lots', expected a number"),
        ("nodes: [{name: left}]", r":1: nodes\[0\].memory_gb: missing"),
        ("nodes: [", ":1: not valid YAML: "),
        ("[left]", ":1: got a list, expected a mapping with nodes"),
        ("nodes: [{name: left, memory_gb: 4}]", "cluster.yaml: expected at least one expert"),
        ("nodes: [{name: left, memory_gb: .inf}]", r":1: nodes\[0\].memory_gb: got Infinity, expected a number <= "),
        ("nodes: [{name: left, memory_gb: .nan}]", r":1: nodes\[0\].memory_gb: got NaN, expected a number >= 0.0"),
        (NODES.replace("[a, b]", "[1]"), ":2: current: expected text in it"),
        (NODES.replace("{left: [", "{1: ["), ":2: current: expected text as a key; put it in quotes"),
        (NODES.replace("right", "left"), r":1: nodes\[1\].name: 'left' stands twice"),
        (NODES + "nodes: []\n", ":1: nodes: the key stands twice, in lines 1 and 3"),
        (CLUSTER.replace("{name: b", "{name: a"), r":3: experts\[1\].name: 'a' stands twice"),
        (
            CLUSTER.replace("current: {left", "current: {lfet"),
            r"cluster.yaml: 'lfet' under current is none of the nodes \(left, right\)",
        ),
        (CLUSTER.replace("left: [a, b]", "left: [a, z]"), r"'z' under current is none of the experts \(a, b\)"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_place(folder, text, message):
    (folder / "cluster.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        place(Path("cluster.yaml"))
    assert caught.value.message.startswith("cluster.yaml:")
    assert len(caught.value.message.splitlines()) == 1


def test_more_than_can_be_served_is_warned_of(folder, capsys):
    (folder / "cluster.yaml").write_text(CLUSTER.replace("service_s: 0.4", "service_s: 20"))
    place(Path("cluster.yaml"), as_json=True)
    printed = capsys.readouterr()
    assert printed.err.startswith("warning: more is asked than can be served")
    assert "right (" in printed.err
    assert max(node["load"] for node in json.loads(printed.out)["nodes"].values()) > 1


def test_an_expert_as_large_as_its_node_fits(folder, capsys):
    """8.2 GB are 8,199,999,999.999999 bytes in floating point."""
    (folder / "cluster.yaml").write_text("{nodes: [{name: n, memory_gb: 8.2}], experts: [{name: a, memory_gb: 8.2}]}")
    assert placed(capsys)["shares"] == {"a": {"n": 1.0}}


async def fill(folder, *attempts, ages_s=tuple(range(20))):
    """Requests that came so long ago, by default one a second: each calls these experts."""
    ledger = make_ledger(read_config(folder / "experts.yaml"), folder)
    await ledger.open()
    for age_s in ages_s:
        made = [Attempt(expert, "ok", 0.0, 0.5) for expert in attempts]
        ledger.record(
            Decision(
                f"sw-{age_s}",
                time.time() - age_s,
                "chat",
                "auto",
                "auto",
                "text",
                "anonymous",
                status=200,
                attempts=made,
            )
        )
    await ledger.close()


def test_traffic_and_sizes_come_from_the_fleet_and_its_ledger(folder, capsys):
    asyncio.run(fill(folder, "a", "c", "gpt"))
    body = placed(capsys, "nodes.yaml", from_ledger=True)
    assert sorted(body["shares"]) == ["a", "b"], "the persona is b's, and the echo has no weights"
    assert body["nodes"]["left"]["load"] + body["nodes"]["right"]["load"] == pytest.approx(0.5 + 0.5, rel=0.1)
    assert body["staying"]["network"] == 0.0, "a and c are asked together, and so stay on one node if they can"


def test_traffic_is_spread_over_the_hours_and_not_only_since_the_first_request_in_them(folder, capsys):
    """Five requests of half a second within ten seconds, in a ledger that is older than the two hours that are counted."""
    asyncio.run(fill(folder, "a", ages_s=(0, 2, 4, 6, 8, 3 * 3600)))
    body = placed(capsys, "nodes.yaml", from_ledger=True, hours=2.0)
    assert sum(node["load"] for node in body["nodes"].values()) == pytest.approx(5 * 0.5 / 7200, rel=0.05)


def test_a_ledger_without_decisions_says_so(folder):
    with pytest.raises(DataError, match="no decisions of the last 2 hours"):
        place(Path("nodes.yaml"), from_ledger=True, hours=2.0)


def test_traffic_is_stated_or_counted_not_both(folder):
    with pytest.raises(ConfigError, match="expected no experts and no together beside --from-ledger"):
        place(Path("cluster.yaml"), from_ledger=True)


def test_an_expert_without_a_size_can_not_be_placed(folder):
    (folder / "experts.yaml").write_text(FLEET.replace("residency: {memory_gb: 2.0}", "residency: {}"))
    with pytest.raises(ConfigError, match=r"'b' declares no memory: expected residency.memory_gb"):
        place(Path("nodes.yaml"), from_ledger=True)


# Of a service that runs

GB = 1_000_000_000
EACH = MemoryStatus(4 * GB, 0, 0, 0)
RUNNING = MemoryStatus(8 * GB, 4 * GB, 0, 0, {"10.0.0.1": EACH, "10.0.0.2": EACH})


def running(memory=RUNNING):
    """A gateway whose `a` and `b` are both in memory of the first of two nodes."""
    on = {"node": "10.0.0.1", "memory_bytes": 2 * GB}
    statuses = [make_status("a", **on), make_status("a", "cold", node="10.0.0.2"), make_status("b", **on)]
    scheduler = FakeScheduler(statuses=[*statuses, make_status("gpt", "remote")], memory_status=memory)
    return served(create_app(make_context(scheduler=scheduler)))


async def test_a_running_service_says_what_nodes_there_are_and_who_is_where(folder):
    await fill(folder, "a", "b", "gpt")
    async with running() as url:
        told = await switchyard("experts", "place", "--url", url, "--json", cwd=folder)
    body = json.loads(told.out)
    assert {name: node["load"] for name, node in body["nodes"].items()} == {
        "10.0.0.1": pytest.approx(0.5, rel=0.1),
        "10.0.0.2": pytest.approx(0.5, rel=0.1),
    }
    assert body["staying"]["busiest"] == pytest.approx(1.0, rel=0.1)
    assert [(move["node"], move["memory_bytes"]) for move in body["moves"]] == [("10.0.0.2", 2 * GB)]
    assert read_config(folder / "experts.yaml").placement == {}


async def test_a_plan_that_moves_something_is_written_where_the_service_reads_it(folder):
    await fill(folder, "a", "b", "gpt")
    async with running() as url:
        told = await switchyard("experts", "place", "--url", url, "--apply", cwd=folder)
        again = await switchyard("experts", "place", "--url", url, "--apply", "--min-gain", "0.9", cwd=folder)
    assert (told.code, told.err) == (0, "wrote the placement to experts.yaml\n")
    placement = read_config(folder / "experts.yaml").placement
    assert sorted(placement.values()) == [("10.0.0.1",), ("10.0.0.2",)]
    assert (folder / "experts.yaml").read_text().startswith(FLEET)
    assert (again.out.splitlines()[-1], again.err) == ("nothing to move", "")


async def test_sizes_that_nobody_declared_are_as_the_service_measured_them(folder):
    (folder / "experts.yaml").write_text(FLEET.replace("residency: {memory_gb: 2.0}", "residency: {}"))
    await fill(folder, "a", "b")
    async with running() as url:
        told = await switchyard("experts", "place", "--url", url, "--json", cwd=folder)
    assert [move["memory_bytes"] for move in json.loads(told.out)["moves"]] == [2 * GB]


async def test_on_one_machine_there_is_nothing_to_place(folder):
    async with running(MemoryStatus(8 * GB, 4 * GB, 0, 0)) as url:
        told = await switchyard("experts", "place", "--url", url, cwd=folder)
    assert (told.code, told.err) == (1, f"{url}: it serves from one machine, where there is nothing to place\n")


async def test_without_a_service_it_says_so(folder):
    told = await switchyard("experts", "place", "--url", "http://127.0.0.1:1", cwd=folder)
    assert (told.code, told.err) == (1, "no gateway answers at http://127.0.0.1:1; start one with `switchyard serve`\n")


def test_nodes_are_a_files_or_a_services(folder):
    with pytest.raises(ConfigError, match=r"expected --url or cluster.yaml"):
        place(Path("cluster.yaml"), url="http://127.0.0.1:1")
