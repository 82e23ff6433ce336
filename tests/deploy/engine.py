"""A Docker Engine, and the project's containers on it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.redis_server import free_port

REPOSITORY = Path(__file__).parents[2]
WANTED = "SATCLE_TEST_IMAGES"
PROJECT = "satcle-test"
IMAGE = "satcle-test:cpu"
START_S, BUILD_S, COMMAND_S = 600, 1800, 180


@contextmanager
def engine() -> Iterator[dict[str, str]]:
    """The environment in which `docker` reaches an engine: the one at hand, or one that the shared tool starts.

    Skips the tests unless `make test-compose` asks for them, and where no engine can be had.
    """
    if not os.environ.get(WANTED):
        pytest.skip(f"builds images and runs containers, for minutes: make test-compose (or {WANTED}=1)")
    environment = {**os.environ}
    if _answers(environment):
        yield environment
        return
    tool = Path(os.environ.get("SATCLE_SHARED", REPOSITORY.parent / "shared")) / "tools/docker-engine"
    if not tool.is_file():
        pytest.skip(f"no Docker Engine answers, and there is no {tool} to start one")
    try:
        started = subprocess.run([tool, "up"], stdout=subprocess.PIPE, text=True, timeout=START_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"no Docker Engine: {tool} up was not done after {START_S} s")
    exported = f"{started.stdout}\nexec env -0"
    lines = subprocess.run(["sh", "-c", exported], capture_output=True, text=True, check=False).stdout
    environment = dict(line.split("=", 1) for line in lines.split("\0") if line)
    if started.returncode != 0 or not _answers(environment):
        pytest.skip(f"no Docker Engine: {tool} up ended with {started.returncode}")
    try:
        yield environment
    finally:
        subprocess.run([tool, "down"], check=False)


def _answers(environment: dict[str, str]) -> bool:
    docker = shutil.which("docker", path=environment["PATH"])
    if docker is None:
        return False
    done = subprocess.run([docker, "compose", "version"], env=environment, capture_output=True, check=False)
    version = [docker, "version", "--format", "{{.Server.Version}}"]
    return done.returncode == 0 == subprocess.run(version, env=environment, capture_output=True, check=False).returncode


@dataclass(frozen=True)
class Stack:
    """docker-compose.yml under a project name and a port of its own."""

    environment: dict[str, str]
    port: int

    @classmethod
    def on(cls, environment: dict[str, str]) -> Stack:
        port = free_port()
        ours = {"API_PORT": str(port), "API_IMAGE": IMAGE, "SATCLE_REDIS_RETRY_S": "0.5"}
        inherited = {name: value for name, value in environment.items() if not name.startswith("SATCLE_")}
        return cls(inherited | ours, port)

    def docker(self, command: str, **variables: str) -> str:
        """What `docker COMMAND` prints; fails the test where it fails."""
        done = subprocess.run(
            ["docker", *shlex.split(command)],
            cwd=REPOSITORY,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=BUILD_S if " build" in command else COMMAND_S,
            check=False,
        )
        assert done.returncode == 0, f"docker {command}: {done.stdout}{done.stderr}"
        return done.stdout

    def compose(self, command: str, **variables: str) -> str:
        # an empty file of variables: what the machine's own .env says is not tested
        return self.docker(f"compose --project-name {PROJECT} --env-file /dev/null {command}", **variables)

    def up(self, **variables: str) -> None:
        self.compose("up --wait --wait-timeout 60 --no-build", **variables)

    def down(self) -> None:
        self.compose("down --timeout 5 --volumes")

    def into_bundles(self, script: str) -> None:
        """Run `script` where the volume `bundles` is /bundles and the shipped bundle $SHIPPED."""
        shipped = "/opt/satcle/lib/python3.11/site-packages/service/bundles/earth-l30"
        volume = f"--volume {PROJECT}_bundles:/bundles --env SHIPPED={shipped}"
        self.docker(f"run --rm {volume} --entrypoint sh {IMAGE} -euc '{script}'")

    def inspect(self, service: str) -> dict[str, Any]:
        """Everything about the container of `service`, running or not."""
        container = self.compose(f"ps --all --quiet {service}").strip()
        (found,) = json.loads(self.docker(f"inspect {container}"))
        return dict(found)

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60, **options)
