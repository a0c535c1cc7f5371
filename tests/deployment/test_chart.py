"""The Helm chart and the plain manifest: what Kubernetes, KubeRay and Ray Serve would refuse is refused here.

KubeRay's schema is ours, of the fields that we use; the others are their owners'.
"""

import json
import site
import subprocess
import sys
import tomllib
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import ray

from orchestrator.engines.ray.cluster import HEALTH_CHECKS, NO_KILLING
from orchestrator.engines.ray.ingress import ENVIRONMENT
from orchestrator.fleet.configfile import read_config
from orchestrator.ledger.database import require_shared
from tests.support.charts import CHART, DEPLOY, lint, objects, read, render

ROOT = DEPLOY.parents[1]
KUBERAY = json.loads((Path(__file__).parent / "rayservice.schema.json").read_text())
SITE_PACKAGES = "/usr/local/lib/python3.11/site-packages"
"""Of the image that the Dockerfile builds on."""
PATHS = {
    name: next(
        Path(value).relative_to(root) for root in (*site.getsitepackages(), ROOT) if Path(value).is_relative_to(root)
    )
    for name, value in ENVIRONMENT.items()
    if Path(value).is_absolute()
}
"""Settings that are files of packages, wherever those are installed."""
KUBERNETES = ("1.28", kubernetes_validate.latest_version())
GPU_WORKERS = {
    "name": "gpu",
    "replicas": 1,
    "resources": {"limits": {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": 1}},
    "nodeSelector": {"accelerator": "l4"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
}
EVERYTHING = {
    "secret": "mine",
    "experts": "version: 1\nexperts:\n  - {name: echo, backend: echo}\n",
    "claims": {"models": "models", "batches": "batches"},
    "redisAddress": "redis:6379",
    "workers": [GPU_WORKERS],
}


@pytest.fixture(scope="module")
def manifest() -> str:
    return render()


def of_kind(kind: str, text: str) -> dict[str, Any]:
    return next(each for each in objects(text) if each["kind"] == kind)


def pod_templates(text: str) -> list[dict[str, Any]]:
    """The head's first."""
    cluster = of_kind("RayService", text)["spec"]["rayClusterConfig"]
    return [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def environment(template: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in template["spec"]["containers"][0]["env"]}


def settings(config: dict[str, int]) -> dict[str, str]:
    """Of a node of Ray's, as its environment has them."""
    return {f"RAY_{name}": str(value) for name, value in config.items()}


def mounts(template: dict[str, Any]) -> dict[str, bool]:
    """Where something is mounted, and whether it can be written there."""
    found = template["spec"]["containers"][0]["volumeMounts"]
    return {each["mountPath"]: not each.get("readOnly", False) for each in found}


def test_helm_finds_nothing_to_complain_of():
    report = lint()
    assert [each for each in report["messages"] if each["severity"] > 1] == []
    assert report["errors"] == []


def test_the_plain_manifest_is_what_the_chart_renders_by_default(manifest: str):
    written = (DEPLOY / "rayservice.yaml").read_text()
    assert written[written.index("---\n") :] == manifest, "run: helm template switchyard docs/deploy/chart"


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_what_the_chart_renders(values: dict[str, Any], version: str):
    text = render(values)
    templates = [{"apiVersion": "v1", "kind": "PodTemplate", "template": each} for each in pod_templates(text)]
    others = [of_kind(kind, text) for kind in ("ConfigMap", "NetworkPolicy", "PodDisruptionBudget")]
    for each in (*others, *templates):
        kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_kuberay_takes_what_the_chart_renders(values: dict[str, Any]):
    jsonschema.validate(of_kind("RayService", render(values)), KUBERAY)


def test_values_that_the_chart_does_not_know_are_refused():
    with pytest.raises(CalledProcessError) as refused:
        render({"secrets": "mine"})
    assert "secrets" in refused.value.stderr


def test_ray_serve_takes_its_config_and_the_deployment_that_it_names_exists(manifest: str):
    """In a process of its own: Serve reads the environment when it is imported."""
    [told] = objects(of_kind("RayService", manifest)["spec"]["serveConfigV2"])
    code = (
        "import json, sys; from pkgutil import resolve_name; from ray.serve.schema import ServeDeploySchema\n"
        "config = ServeDeploySchema.model_validate(json.loads(sys.argv[1]))\n"
        "built = [resolve_name(each.import_path)(each.args) for each in config.applications]\n"
        "names = [app._bound_deployment.name for app in built]\n"
        "print(json.dumps([config.model_dump(exclude_unset=True, mode='json'), names]))"
    )
    here = {name: ENVIRONMENT[name] for name in PATHS} | {"SWITCHYARD_CONFIG": str(CHART / "config" / "experts.yaml")}
    env = environment(pod_templates(manifest)[0]) | here
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(told)], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    understood, names = json.loads(done.stdout.splitlines()[-1])
    assert understood == told, "a key that Serve does not know is ignored by it"
    assert names == [each["name"] for each in told["applications"][0]["deployments"]]


def test_pods_have_the_environment_that_switchyard_needs_on_ray(manifest: str):
    head, *workers = map(environment, pod_templates(manifest))
    there = {name: f"{SITE_PACKAGES}/{path}" for name, path in PATHS.items()}
    for pod in (head, *workers):
        assert (ENVIRONMENT | there | settings(NO_KILLING)).items() <= pod.items()
    assert settings(HEALTH_CHECKS).items() <= head.items()


def test_a_pod_whose_gateway_leaves_is_sent_no_more_before_its_haproxy_goes(manifest: str):
    """Which is after 30 s, Serve's `PROXY_MIN_DRAINING_PERIOD_S`; Kubernetes has to tell its nodes by then, too."""
    _, *workers = pod_templates(manifest)
    probes = [template["spec"]["containers"][0]["readinessProbe"] for template in workers]
    assert [probe["httpGet"] for probe in probes] == [{"path": "/-/healthz", "port": "serve"}]
    assert all(probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"] <= 15 for probe in probes)


def test_only_the_api_is_open_to_everyone(manifest: str):
    policy = of_kind("NetworkPolicy", manifest)["spec"]
    assert [rule["ports"] for rule in policy["ingress"] if "from" not in rule] == [[{"port": 8700}]]
    selected = policy["podSelector"]["matchLabels"].items()
    assert all(selected <= template["metadata"]["labels"].items() for template in pod_templates(manifest))


def test_pods_that_serve_are_not_all_evicted_at_once(manifest: str):
    """KubeRay's label says which pods serve; the budget is of those of this release."""
    budget = of_kind("PodDisruptionBudget", manifest)["spec"]
    selected = budget["selector"]["matchLabels"]
    assert budget["minAvailable"] == 1
    assert selected.pop("ray.io/serve") == "true"
    assert all(selected.items() <= template["metadata"]["labels"].items() for template in pod_templates(manifest))
    without = [each["kind"] for each in objects(render({"disruptionBudget": {"enabled": False}}))]
    assert "PodDisruptionBudget" not in without


def test_pods_are_on_machines_of_their_own_where_there_are_enough(manifest: str):
    for template in pod_templates(manifest):
        [spread] = template["spec"]["topologySpreadConstraints"]
        assert spread["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        assert spread["topologyKey"] == "kubernetes.io/hostname"


def test_pods_run_without_privileges(manifest: str):
    for template in pod_templates(manifest):
        assert template["spec"]["securityContext"]["runAsNonRoot"] is True
        assert template["spec"]["automountServiceAccountToken"] is False
        own = template["spec"]["containers"][0]["securityContext"]
        assert own == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_the_experts_of_the_user_are_served_unchanged():
    assert of_kind("ConfigMap", render(EVERYTHING))["data"]["experts.yaml"] == EVERYTHING["experts"]


def test_what_is_not_shared_by_all_pods_is_not_written(manifest: str):
    assert [mounts(each) for each in pod_templates(manifest)] == [{"/config": False, "/batches": False}] * 2
    assert [mounts(each) for each in pod_templates(render(EVERYTHING))] == [
        {"/config": False, "/batches": True, "/models": True}
    ] * 2


def test_the_shipped_experts_can_be_served_by_several_gateways_on_ray():
    config = read_config(CHART / "config" / "experts.yaml")
    assert (config.engine, config.ray.gateways.min, str(config.batches.folder)) == ("ray", 2, "/batches")
    require_shared(config.ledger.url)


def test_streams_may_go_on_for_as_long_as_requests_may_take():
    values = read(CHART / "values.yaml")
    assert values["drainSeconds"] > read_config(CHART / "config" / "experts.yaml").gateway.request_timeout_s


def test_the_versions_are_those_of_the_project():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart, values = (read(CHART / name) for name in ("Chart.yaml", "values.yaml"))
    assert {chart["version"], chart["appVersion"], values["image"]["tag"]} == {version}
    assert values["rayVersion"] == ray.__version__
