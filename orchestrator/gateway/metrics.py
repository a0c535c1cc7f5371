"""What Prometheus is told: requests, attempts, overhead, waits, tokens, cost, what went wrong; and the state of the scheduler.

    metrics = Metrics(scheduler.status, scheduler.memory, lost=lambda: ledger.lost, reload_failed=lambda: False)
    metrics.observe(decision)                     # a finished one, as the ledger gets it: under 5 microseconds
    metrics.refused(401)                          # a request that never became one
    metrics.render()                              # GET /metrics

Labels are policies, experts and statuses that exist, never what a client sent; the policy is empty for an expert called by its
name. One object per gateway; nothing is global. Where one address stands for several gateways, each tells of all (`gathering.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator.gateway.gathering import merged
from orchestrator.gateway.states import SchedulerCollector
from orchestrator.scheduler.base import ExpertStatus, MemoryStatus
from orchestrator.types import Decision

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
OVERHEAD_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5)
WAIT_S = (0.001, 0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
DURATION_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class _Series:
    """The metrics of one policy, expert and status, looked up once.

    answered, prompt_tokens, completion_tokens, cost_usd: added up here, which is far cheaper, until Prometheus asks.
    """

    def __init__(self, overhead: Histogram, wait: Histogram, duration: Histogram) -> None:
        self.overhead = overhead
        self.wait = wait
        self.duration = duration
        self.answered = self.prompt_tokens = self.completion_tokens = 0
        self.cost_usd = 0.0


class Metrics:
    """status, memory: the scheduler's view of the experts and their memory now. lost: how many decisions the ledger gave up.

    reload_failed: whether the newest experts.yaml was refused.
    """

    def __init__(
        self,
        status: Callable[[], Iterable[ExpertStatus]],
        memory: Callable[[], MemoryStatus],
        *,
        lost: Callable[[], int],
        reload_failed: Callable[[], bool],
    ) -> None:
        self._registry = CollectorRegistry()
        self._series: dict[tuple[str, int, str], _Series] = {}
        self._outcomes: defaultdict[tuple[str, str], int] = defaultdict(int)
        by_policy, by_expert = ["policy"], ["expert"]
        self._requests = self._counter("requests", "Requests answered", ["policy", "expert", "status"])
        self._attempts = self._counter("attempts", "Tries at an expert, each with its end", ["expert", "outcome"])
        self._overhead = self._histogram("overhead_seconds", "Switchyard's own time", by_policy, OVERHEAD_S)
        self._wait = self._histogram("wait_seconds", "Time until a lease was granted", by_expert, WAIT_S)
        self._duration = self._histogram("request_duration_seconds", "Until the answer's end", by_expert, DURATION_S)
        self._tokens = self._counter("tokens", "Tokens as the experts counted them", ["expert", "direction"])
        self._regret = self._counter("regret", "Utility given up for shorter waits", by_policy)
        self._saved = self._counter("saved_wait_seconds", "Expected waiting saved by that", by_policy)
        self._cost = self._counter("cost_usd", "Cost by the experts' prices", by_expert)
        self._in_flight = Gauge("switchyard_in_flight_requests", "Requests under way", registry=self._registry)
        self._batches = Gauge("switchyard_batches_in_progress", "Batches that are not over", registry=self._registry)
        self._registry.register(_GatewayCollector(lost, reload_failed))
        self._scheduler = CollectorRegistry()
        self._scheduler.register(SchedulerCollector(status, memory))

    def watch(self, in_flight: Callable[[], int], batches: Callable[[], int]) -> None:
        """in_flight, batches: how many are under way now; asked when Prometheus asks."""
        self._in_flight.set_function(in_flight)
        self._batches.set_function(batches)

    def expect(self, policies: Iterable[str]) -> None:
        """policies: that have made no decision yet, perhaps; what they give up and save is 0 until they do."""
        for policy in policies:
            self._regret.labels(policy)
            self._saved.labels(policy)

    def observe(self, decision: Decision) -> None:
        """Count a finished decision. Overhead is known of answers, waits and durations of what had an expert."""
        policy, status, expert = decision.policy, decision.status, decision.expert or ""
        series = self._series.get((policy, status, expert)) or self._look_up(policy, status, expert)
        series.answered += 1
        series.prompt_tokens += decision.prompt_tokens
        series.completion_tokens += decision.completion_tokens
        series.cost_usd += decision.cost_usd
        for attempt in decision.attempts:
            self._outcomes[attempt.expert, attempt.outcome] += 1
        if decision.overhead_ms:
            series.overhead.observe(decision.overhead_ms / 1000)
        if expert:
            series.wait.observe(decision.wait_ms / 1000)
            series.duration.observe(decision.duration_ms / 1000)
        if decision.regret:
            self._regret.labels(policy).inc(decision.regret)
            self._saved.labels(policy).inc(max(0.0, decision.saved_s))

    def refused(self, status: int) -> None:
        """Count a request that was refused, or left, before there was a decision."""
        self._requests.labels("", "", str(status)).inc()

    def own(self) -> bytes:
        """What this gateway has measured, in Prometheus's text format."""
        self._tell()
        return generate_latest(self._registry)

    def render(self, gateways: Mapping[str, bytes] | None = None) -> bytes:
        """That, and the state of the scheduler. gateways: `own` of each of several, by name, in the place of this one's."""
        return (self.own() if gateways is None else merged(gateways)) + generate_latest(self._scheduler)

    def _look_up(self, policy: str, status: int, expert: str) -> _Series:
        series = _Series(self._overhead.labels(policy), self._wait.labels(expert), self._duration.labels(expert))
        self._series[policy, status, expert] = series
        return series

    def _tell(self) -> None:
        """What was added up since the last time."""
        for (policy, status, expert), series in self._series.items():
            self._requests.labels(policy, expert, str(status)).inc(series.answered)
            self._tokens.labels(expert, "input").inc(series.prompt_tokens)
            self._tokens.labels(expert, "output").inc(series.completion_tokens)
            self._cost.labels(expert).inc(series.cost_usd)
            series.answered = series.prompt_tokens = series.completion_tokens = 0
            series.cost_usd = 0.0
        for (expert, outcome), count in self._outcomes.items():
            self._attempts.labels(expert, outcome).inc(count)
        self._outcomes.clear()

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(f"switchyard_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, labels: list[str], buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"switchyard_{name}", text, labels, registry=self._registry, buckets=buckets)


class _GatewayCollector(Collector):
    """Read when Prometheus asks, from those who know."""

    def __init__(self, lost: Callable[[], int], reload_failed: Callable[[], bool]) -> None:
        self._lost = lost
        self._reload_failed = reload_failed

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("switchyard_ledger_lost", "Decisions the ledger gave up", value=self._lost())
        refused = float(self._reload_failed())
        yield GaugeMetricFamily("switchyard_reload_failed", "1 while the newest experts.yaml is refused", value=refused)
