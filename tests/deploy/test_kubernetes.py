"""deploy/kubernetes as it would be applied: against the published schemas, and for what it promises."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.settings import Settings
from tests.deploy.kustomize import Manifest, render
from tests.deploy.promql import exported

KUBERNETES = Path(__file__).parents[2] / "deploy/kubernetes"
OVERLAYS = ("cpu", "gpu")
OPERATOR = "monitoring.coreos.com/v1"
"""Of the Prometheus operator, whose kinds have no schema among Kubernetes' own."""


@pytest.fixture(params=OVERLAYS)
def overlay(request) -> list[Manifest]:
    return render(KUBERNETES / "overlays" / request.param)


def only(manifests: list[Manifest], kind: str, name: str = "satcle") -> Manifest:
    (found,) = [each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def pod_of(manifests: list[Manifest], name: str = "satcle") -> dict[str, Any]:
    spec: dict[str, Any] = only(manifests, "Deployment", name)["spec"]["template"]["spec"]
    return spec


def with_bundles(tmp_path: Path) -> Path:
    """An overlay of an operator's own, with the component for bundles."""
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    folder = tmp_path / "kubernetes/overlays/cpu"
    text = (folder / "kustomization.yaml").read_text()
    (folder / "kustomization.yaml").write_text(text.replace("[../../monitoring]", "[../../monitoring, ../../bundles]"))
    return folder


def check_schemas(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        if manifest["apiVersion"] != OPERATOR:
            kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_every_manifest_fits_its_schema(overlay):
    check_schemas(overlay)


def test_a_field_that_is_not_in_the_schema_is_noticed(overlay):
    pod_of(overlay)["containers"][0]["readOnlyRootFilesystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        check_schemas(overlay)


@pytest.mark.parametrize("name", [*OVERLAYS, "bundles"])
def test_kubectl_renders_the_same(name, tmp_path):
    if (kubectl := shutil.which("kubectl")) is None:
        pytest.skip("no kubectl")
    folder = with_bundles(tmp_path) if name == "bundles" else KUBERNETES / "overlays" / name
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    hashed = re.compile(r"(satcle-settings)-[0-9a-z]{10}\b")
    theirs = list(yaml.safe_load_all(hashed.sub(r"\1", done.stdout)))
    assert sorted(map(identity, theirs)) == sorted(map(identity, ours := render(folder)))
    for manifest in theirs:
        assert manifest == next(each for each in ours if identity(each) == identity(manifest))


def identity(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def test_every_namespaced_manifest_is_in_the_one_namespace(overlay):
    assert only(overlay, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {m["metadata"].get("namespace") for m in overlay if m["kind"] != "Namespace"} == {"satcle"}


@pytest.mark.parametrize("name", ["satcle", "redis"])
def test_pods_meet_the_restricted_standard(overlay, name):
    pod = pod_of(overlay, name)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= set(container["resources"]["requests"]) & set(container["resources"]["limits"])
    assert {next(iter(set(volume) - {"name"})) for volume in pod["volumes"]} <= {"emptyDir", "secret"}


def test_probes_ask_what_the_service_answers(overlay):
    (container,) = pod_of(overlay)["containers"]
    asked = {probe: container[probe]["httpGet"]["path"] for probe in container if probe.endswith("Probe")}
    assert asked == {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}


def test_a_pod_has_the_time_to_drain(overlay):
    settings = only(overlay, "ConfigMap", "satcle-settings")["data"]
    pod = pod_of(overlay)
    readiness = pod["containers"][0]["readinessProbe"]
    drain = float(settings["SATCLE_DRAIN_SECONDS"])
    deadline = float(settings.get("SATCLE_DEADLINE_MS", Settings().deadline_ms)) / 1000
    assert pod["terminationGracePeriodSeconds"] > drain + deadline
    assert drain >= readiness["periodSeconds"] * readiness["failureThreshold"]


def test_every_setting_is_one_of_the_service(overlay, monkeypatch):
    pod = pod_of(overlay)
    data = only(overlay, "ConfigMap", "satcle-settings")["data"]
    given = {*data, *(variable["name"] for variable in pod["containers"][0]["env"])}
    assert {name.removeprefix("SATCLE_").lower() for name in given} <= set(Settings.model_fields)
    for name, value in data.items():
        monkeypatch.setenv(name, value)
    assert Settings().redis_url == data["SATCLE_REDIS_URL"]
    assert pod["enableServiceLinks"] is False


def test_the_keys_are_read_where_the_secret_is_mounted(overlay):
    keys = Path(only(overlay, "ConfigMap", "satcle-settings")["data"]["SATCLE_API_KEYS_FILE"])
    mounted = {mount["mountPath"]: mount["name"] for mount in pod_of(overlay)["containers"][0]["volumeMounts"]}
    (volume,) = [each for each in pod_of(overlay)["volumes"] if each["name"] == mounted[str(keys.parent)]]
    assert volume["secret"]["secretName"] == "satcle-api-keys"


def test_selectors_select_the_pods_they_mean(overlay):
    for name in ("satcle", "redis"):
        deployment = only(overlay, "Deployment", name)
        labels = deployment["spec"]["template"]["metadata"]["labels"].items()
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels
        assert only(overlay, "Service", name)["spec"]["selector"].items() <= labels
        assert only(overlay, "NetworkPolicy", name)["spec"]["podSelector"]["matchLabels"].items() <= labels
    pods = only(overlay, "Deployment")["spec"]["template"]["metadata"]["labels"].items()
    assert only(overlay, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= pods
    service = only(overlay, "Service")["metadata"]["labels"].items()
    assert only(overlay, "ServiceMonitor")["spec"]["selector"]["matchLabels"].items() <= service


def test_it_scales_by_a_metric_that_the_service_exports_and_by_the_cpu(overlay):
    scaler = only(overlay, "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == "satcle"
    assert "replicas" not in only(overlay, "Deployment")["spec"]
    custom, resource = scaler["metrics"]
    assert custom["pods"]["metric"]["name"] in exported()
    assert resource["resource"]["name"] == "cpu"
    assert 0 < int(custom["pods"]["target"]["averageValue"]) < Settings().max_queue_points
    adapter = yaml.safe_load((KUBERNETES / "monitoring/adapter.yaml").read_text())
    assert adapter["rules"]["custom"][0]["name"] == {"as": custom["pods"]["metric"]["name"]}


def test_nobody_speaks_to_redis_but_the_service(overlay):
    assert only(overlay, "NetworkPolicy", "default-deny")["spec"]["podSelector"] == {}
    policy = only(overlay, "NetworkPolicy", "redis")["spec"]
    assert "egress" not in policy
    assert policy["ingress"][0]["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "satcle"}}}]


def test_redis_is_bounded_below_its_container_s_memory(overlay):
    (container,) = pod_of(overlay, "redis")["containers"]
    arguments = container["args"]
    assert arguments[arguments.index("--maxmemory") + 1] == "1gb"
    assert arguments[arguments.index("--maxmemory-policy") + 1] == "allkeys-lru"
    assert container["resources"]["limits"]["memory"] == "1536Mi"


def test_the_gpu_overlay_takes_one_gpu_a_pod_and_insists_on_it():
    manifests = render(KUBERNETES / "overlays/gpu")
    (container,) = pod_of(manifests)["containers"]
    assert container["image"] == "satcle:cuda"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert only(manifests, "ConfigMap", "satcle-settings")["data"]["SATCLE_PROVIDER"] == "cuda"


def test_bundles_of_one_s_own_are_read_from_a_volume(tmp_path):
    manifests = render(with_bundles(tmp_path))
    check_schemas(manifests)
    claim = only(manifests, "PersistentVolumeClaim", "satcle-bundles")
    (volume,) = [each for each in pod_of(manifests)["volumes"] if "persistentVolumeClaim" in each]
    assert volume["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"], "readOnly": True}
    assert only(manifests, "ConfigMap", "satcle-settings")["data"]["SATCLE_BUNDLES"] == "earth-l30,/bundles"
