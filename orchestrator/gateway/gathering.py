"""What several gateways have measured, as one page: every series of each, under the gateway's name.

    merged({"gateway-1": text, "gateway-2": other})      # switchyard_requests_total{gateway="gateway-1",...} 17 ...

For gateways that one address stands for, of which Prometheus would see now one and now another. Not here: what is measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

LABEL = "gateway"


def merged(texts: Mapping[str, bytes]) -> bytes:
    """texts: by the gateway's name, in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(_Gathered(texts))
    return generate_latest(registry)


class _Gathered(Collector):
    def __init__(self, texts: Mapping[str, bytes]) -> None:
        self._texts = texts

    def collect(self) -> Iterator[Metric]:
        gathered: dict[str, Metric] = {}
        for gateway, text in self._texts.items():
            for family in text_string_to_metric_families(text.decode()):
                metric = gathered.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                metric.samples += [
                    sample._replace(labels={**sample.labels, LABEL: gateway}) for sample in family.samples
                ]
        yield from gathered.values()
