"""What Prometheus is told of the scheduler: memory and the state of every expert; on a cluster, of nodes and replicas, too.

    registry.register(SchedulerCollector(scheduler.status, scheduler.memory))

All gateways of a scheduler tell the same. Not here: what each has measured itself (`metrics.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator.scheduler.base import ExpertStatus, MemoryStatus, State
from orchestrator.scheduler.summary import by_expert

STATES = get_args(State)

BUDGETS = (
    ("memory_budget_bytes", "What experts may use together", "budget_bytes"),
    ("memory_used_bytes", "What they use of it", "used_bytes"),
    ("asleep_budget_bytes", "What sleeping experts may keep of the host's memory", "asleep_budget_bytes"),
    ("asleep_used_bytes", "What they keep of it", "asleep_used_bytes"),
)
IN_USE = (
    ("leases", "Requests it is answering"),
    ("waiting", "Requests waiting for it"),
    ("memory_bytes", "What its server takes of the memory budget"),
)
GAUGES = (
    *IN_USE,
    ("expected_wait_s", "Seconds a request that arrives now would wait"),
    ("asleep_bytes", "What its server keeps of the host's memory while it sleeps"),
)
COUNTERS = (
    ("loads", "Times its weights were loaded"),
    ("prefetch_hits", "Loads ahead of demand that somebody came for"),
    ("prefetch_misses", "Loads ahead of demand that nobody came for"),
)


class SchedulerCollector(Collector):
    """Read when Prometheus asks. status, memory: the scheduler's."""

    def __init__(self, status: Callable[[], Iterable[ExpertStatus]], memory: Callable[[], MemoryStatus]) -> None:
        self._status = status
        self._memory = memory

    def collect(self) -> Iterator[Metric]:
        memory, statuses = self._memory(), tuple(self._status())
        yield from _budgets(memory)
        yield from _experts(by_expert(statuses).values())
        if memory.nodes:
            yield from _nodes(memory.nodes)
            yield from _replicas(statuses)


def _budgets(memory: MemoryStatus) -> Iterator[Metric]:
    for name, text, field in BUDGETS:
        yield GaugeMetricFamily(f"switchyard_{name}", text, value=getattr(memory, field))


def _nodes(nodes: Mapping[str, MemoryStatus]) -> Iterator[Metric]:
    for name, text, field in BUDGETS:
        family = GaugeMetricFamily(f"switchyard_node_{name}", f"{text}, on each node", labels=["node"])
        for node, memory in nodes.items():
            family.add_metric([node], getattr(memory, field))
        yield family


def _experts(experts: Iterable[ExpertStatus]) -> Iterator[Metric]:
    state = GaugeMetricFamily("switchyard_expert_state", "1 for the state it is in", labels=["expert", "state"])
    families = {
        field: family(f"switchyard_expert_{field}", text, labels=["expert"])
        for family, fields in ((GaugeMetricFamily, GAUGES), (CounterMetricFamily, COUNTERS))
        for field, text in fields
    }
    breaker = GaugeMetricFamily("switchyard_expert_breaker_open", "1 while it is taken for broken", labels=["expert"])
    for expert in experts:
        for name in STATES:
            state.add_metric([expert.expert, name], float(expert.state == name))
        for field, family in families.items():
            family.add_metric([expert.expert], float(getattr(expert, field)))
        breaker.add_metric([expert.expert], float(expert.breaker != "closed"))
    yield from (state, *families.values(), breaker)


def _replicas(statuses: Iterable[ExpertStatus]) -> Iterator[Metric]:
    """Of those in memory, and those that somebody waits for."""
    there = [each for each in statuses if each.node and (each.state != "cold" or each.waiting)]
    for field, text in IN_USE:
        family = GaugeMetricFamily(f"switchyard_replica_{field}", f"{text}, of each replica", labels=["expert", "node"])
        for each in there:
            family.add_metric([each.expert, each.node], float(getattr(each, field)))
        yield family
