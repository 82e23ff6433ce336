"""The command `satcle serve` as a process of its own, on a port that the system chooses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest


@dataclass
class Served:
    """A running service."""

    process: subprocess.Popen[str]
    url: str

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60)

    def metric(self, series: str) -> float:
        """The value of one series of /metrics, zero where it is absent."""
        text = httpx.get(self.url + "/metrics", timeout=60).text
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(series)), 0.0)


Serve = Callable[..., AbstractContextManager[Served]]


@contextmanager
def _serve(*options: str, **environment: str) -> Iterator[Served]:
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "serve", "--port", "0", *options],
        env={**os.environ, **environment, "NO_COLOR": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(r"running on (http://\S+)", line):
                yield Served(process, found[1])
                break
        else:
            pytest.fail("the service ended before it listened")
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(scope="session")
def serve() -> Serve:
    """`with serve("--option", SATCLE_X="…") as served:` runs the default bundle."""
    return _serve


@pytest.fixture(scope="session")
def served(serve: Serve) -> Iterator[Served]:
    with serve() as running:
        yield running


@pytest.fixture
def places_csv(tmp_path: Path) -> Path:
    path = tmp_path / "places.csv"
    path.write_text("name,lon,lat\nBeijing,116.4,39.9\nParis,2.35,48.86\nSuva,178.44,-18.14\nPole,77,90\n")
    return path
