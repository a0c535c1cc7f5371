"""Prometheus and Grafana: every query is PromQL, over metrics that gateways really have, and every alert is explained."""

import json

import promql_parser
import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.gateway.metrics import Metrics
from orchestrator.scheduler.base import MemoryStatus
from tests.support.charts import DEPLOY, objects, read
from tests.support.pipeline import make_status

SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",), "gauge": ("",)}
DASHBOARD = json.loads((DEPLOY / "grafana" / "switchyard.json").read_text())
ALERTS = [rule for group in read(DEPLOY / "alerts.yaml")["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {
    **{f"alert {rule['alert']}": rule["expr"] for rule in ALERTS},
    **{
        f"panel {panel['title']} {target['refId']}": target["expr"].replace("$__rate_interval", "1m")
        for panel in PANELS
        for target in panel["targets"]
    },
}
METRICS = Metrics(
    lambda: [make_status("echo", node="10.0.0.1")],
    lambda: MemoryStatus(1, 0, 0, 0, {"10.0.0.1": MemoryStatus(1, 0, 0, 0)}),
    lost=lambda: 0,
    reload_failed=lambda: False,
)
FAMILIES = list(text_string_to_metric_families(METRICS.render().decode()))
"""Of a gateway on a cluster, which has those of one machine, too."""


def known() -> set[str]:
    """The names under which Prometheus keeps what a gateway tells, and its own `up`."""
    return {"up"} | {family.name + suffix for family in FAMILIES for suffix in SUFFIXES[family.type]}


def selected(query: str) -> set[str]:
    """The metrics that it reads."""
    found: set[str] = set()

    def look(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.add(node.name)

    promql_parser.walk(promql_parser.parse(query), look)
    return found


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_queries_read_metrics_that_exist(query: str):
    names = selected(query)
    assert names
    assert names <= known()


def test_every_metric_is_shown():
    queried = set().union(*map(selected, QUERIES.values()))
    unseen = [each.name for each in FAMILIES if not queried & {each.name + suffix for suffix in SUFFIXES[each.type]}]
    assert unseen == []


def test_panels_have_places_of_their_own():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in DASHBOARD["panels"])


def test_every_alert_says_what_it_is_and_the_manual_what_to_do():
    manual = (DEPLOY.parent / "OPERATIONS.md").read_text()
    for rule in ALERTS:
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert f"`{rule['alert']}`" in manual


def test_prometheus_reads_the_alerts_and_asks_with_a_key():
    config = read(DEPLOY / "prometheus.yaml")
    assert config["rule_files"] == ["alerts.yaml"]
    [job] = config["scrape_configs"]
    assert job["job_name"] == "switchyard"
    assert "credentials_file" in job["authorization"]


def test_grafana_finds_its_data_source_and_its_dashboards():
    [source] = read(DEPLOY / "grafana" / "datasources.yaml")["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    [provider] = read(DEPLOY / "grafana" / "dashboards.yaml")["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"


def test_the_job_for_kubernetes_asks_the_service_that_kuberay_makes_of_the_chart():
    manual = (DEPLOY.parent / "OPERATIONS.md").read_text()
    blocks = [block.split("```")[0] for block in manual.split("```yaml\n")[1:]]
    [[[job]]] = [objects(block) for block in blocks if "job_name" in block]
    [[target]] = [config["targets"] for config in job["static_configs"]]
    [service] = [each for each in objects((DEPLOY / "rayservice.yaml").read_text()) if each["kind"] == "RayService"]
    container = service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    [port] = [port["containerPort"] for port in container["ports"] if port["name"] == "serve"]
    assert target == f"{service['metadata']['name']}-serve-svc.default:{port}"
    assert job["job_name"] == read(DEPLOY / "prometheus.yaml")["scrape_configs"][0]["job_name"]
