"""What Prometheus is told: requests, overhead, waits, tokens, cost, and the state of every expert.

    metrics = Metrics(scheduler.status)
    metrics.observe("auto", 200, decision)        # under 10 microseconds
    metrics.render()                              # GET /metrics

Labels are policies, experts and statuses that exist, never what a client sent. One object per gateway; nothing is global.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator.scheduler.base import ExpertStatus
from orchestrator.types import Decision

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
STATES = ("remote", "cold", "loading", "ready", "draining")
OVERHEAD_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5)
WAIT_S = (0.001, 0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
DURATION_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class _Series:
    """The metrics of one policy, expert and status, looked up once."""

    __slots__ = ("cost", "duration", "overhead", "requests", "tokens_in", "tokens_out", "wait")
    requests: Counter
    overhead: Histogram
    wait: Histogram
    duration: Histogram
    tokens_in: Counter
    tokens_out: Counter
    cost: Counter


class Metrics:
    """status: the scheduler's view of the experts now."""

    def __init__(self, status: Callable[[], Iterable[ExpertStatus]]) -> None:
        self._registry = CollectorRegistry()
        self._series: dict[tuple[str, int, str], _Series] = {}
        by_policy, by_expert = ["policy"], ["expert"]
        self._requests = self._counter("requests", "Requests answered", ["policy", "expert", "status"])
        self._overhead = self._histogram("overhead_seconds", "Switchyard's own time", by_policy, OVERHEAD_S)
        self._wait = self._histogram("wait_seconds", "Time until a lease was granted", by_expert, WAIT_S)
        self._duration = self._histogram("request_duration_seconds", "Until the answer's end", by_expert, DURATION_S)
        self._tokens = self._counter("tokens", "Tokens as the experts counted them", ["expert", "direction"])
        self._cost = self._counter("cost_usd", "Cost by the experts' prices", by_expert)
        self._in_flight = Gauge("switchyard_in_flight_requests", "Requests under way", registry=self._registry)
        self._registry.register(_ExpertCollector(status))

    def watch(self, in_flight: Callable[[], int]) -> None:
        """in_flight: how many requests are under way now; asked when Prometheus asks."""
        self._in_flight.set_function(in_flight)

    def observe(self, policy: str, status: int, decision: Decision | None) -> None:
        """Count a finished request; one that was refused before a decision has no expert, and perhaps no policy."""
        policy = decision.policy if decision is not None else policy
        expert = (decision.expert or "") if decision is not None else ""
        series = self._series.get((policy, status, expert)) or self._look_up(policy, status, expert)
        series.requests.inc()
        if decision is None:
            return
        series.overhead.observe(decision.overhead_ms / 1000)
        series.wait.observe(decision.wait_ms / 1000)
        series.duration.observe(decision.duration_ms / 1000)
        series.tokens_in.inc(decision.prompt_tokens)
        series.tokens_out.inc(decision.completion_tokens)
        series.cost.inc(decision.cost_usd)

    def render(self) -> bytes:
        """Prometheus's text format."""
        return generate_latest(self._registry)

    def _look_up(self, policy: str, status: int, expert: str) -> _Series:
        series = self._series[policy, status, expert] = _Series()
        series.requests = self._requests.labels(policy, expert, str(status))
        series.overhead = self._overhead.labels(policy)
        series.wait = self._wait.labels(expert)
        series.duration = self._duration.labels(expert)
        series.tokens_in = self._tokens.labels(expert, "input")
        series.tokens_out = self._tokens.labels(expert, "output")
        series.cost = self._cost.labels(expert)
        return series

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(f"switchyard_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, labels: list[str], buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"switchyard_{name}", text, labels, registry=self._registry, buckets=buckets)


class _ExpertCollector(Collector):
    """Read when Prometheus asks, from the scheduler, which is the only one that knows."""

    def __init__(self, status: Callable[[], Iterable[ExpertStatus]]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        state = GaugeMetricFamily("switchyard_expert_state", "1 for the state it is in", labels=["expert", "state"])
        gauges = {
            field: GaugeMetricFamily(f"switchyard_expert_{field}", text, labels=["expert"])
            for field, text in (
                ("leases", "Requests it is answering"),
                ("waiting", "Requests waiting for it"),
                ("expected_wait_s", "Seconds a request that arrives now would wait"),
                ("memory_bytes", "Memory of its server"),
                ("loads", "Times its weights were loaded"),
            )
        }
        breaker = GaugeMetricFamily(
            "switchyard_expert_breaker_open", "1 while it is taken for broken", labels=["expert"]
        )
        for expert in self._status():
            for name in STATES:
                state.add_metric([expert.expert, name], float(expert.state == name))
            for field, gauge in gauges.items():
                gauge.add_metric([expert.expert], float(getattr(expert, field)))
            breaker.add_metric([expert.expert], float(expert.breaker != "closed"))
        yield from (state, *gauges.values(), breaker)
