"""Clusters for tests of placement: by hand, or drawn by hypothesis.

problem = Problem(nodes(4, 8, sites="ab"), (demand("a", gb=2, load=0.4), demand("b")))
check(problem, place(problem).placement)
"""

from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from orchestrator.scheduler.placement.base import Demand, Links, Node, Problem, Together

GB = 1_000_000_000


def nodes(*memory_gb, sites="", **fields):
    sites = sites or "a" * len(memory_gb)
    return tuple(Node(f"n{i}", int(gb * GB), site=sites[i], **fields) for i, gb in enumerate(memory_gb))


def demand(name, gb=1.0, load=0.1, service_s=0.1):
    return Demand(name, int(gb * GB), rate_per_s=load / service_s, service_s=service_s)


@st.composite
def problems(draw, max_nodes=3, max_experts=5):
    """Every expert fits on the first node; memory for all, some or one of them."""
    count = draw(st.integers(1, max_experts))
    sizes = st.integers(1, 4)
    experts = tuple(
        demand(f"e{i}", draw(sizes), draw(st.sampled_from([0.0, 0.1, 0.25, 0.7])), draw(st.sampled_from([0.05, 1.0])))
        for i in range(count)
    )
    memory_gb = [4, *draw(st.lists(st.integers(0, 9), max_size=max_nodes - 1))]
    pairs = [(a.expert, b.expert) for a, b in pairwise(experts)]
    together = tuple(Together(pair, 0.3) for pair in pairs if draw(st.booleans()))
    current = {e.expert: {f"n{draw(st.integers(0, len(memory_gb) - 1))}"} for e in experts if draw(st.booleans())}
    links = Links(near_s=0.02, far_s=draw(st.sampled_from([0.02, 0.5])))
    return Problem(nodes(*memory_gb, sites="aab"), experts, together, links, current, horizon_s=60.0)


def check(problem, placement):
    """It is whole: all requests are served, by copies, and these fit."""
    copies = placement.resident | placement.visiting
    np.testing.assert_allclose(placement.shares.sum(axis=1), 1.0)
    assert not placement.shares[~copies].any()
    assert not (placement.resident & placement.visiting).any()
    residents = placement.resident.T @ np.array([e.memory_bytes for e in problem.experts])
    visitors = np.max(placement.visiting * np.array([[e.memory_bytes] for e in problem.experts]), axis=0)
    assert (residents + visitors <= [node.memory_bytes for node in problem.nodes]).all()
