"""Several worker processes behind one port: counted as one, replaced when they die, stopped together."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Serve, Served

REQUESTS = 'satcle_requests_total{method="POST",route="/v1/embeddings",status="200"}'
PLACES = {"input": [[1, 2], [3, 4]], "exact": True}


@dataclass
class Served2:
    """A service of two workers, by their process ids."""

    served: Served
    workers: list[int]
    metrics_folder: Path

    def ask(self, times: int) -> None:
        for _ in range(times):
            assert httpx.post(self.served.url + "/v1/embeddings", json=PLACES, timeout=60).status_code == 200

    def line_with(self, text: str) -> str:
        assert self.served.process.stderr is not None
        return next(line for line in self.served.process.stderr if text in line)


@pytest.fixture
def two(serve: Serve, tmp_path: Path) -> Iterator[Served2]:
    with serve("--workers", "2", TMPDIR=str(tmp_path)) as served:
        two = Served2(served, [], next(tmp_path.glob("satcle-metrics-*")))
        for _ in range(2):
            two.workers.append(pid_in(two.line_with("started")))
        for _ in range(2):
            two.line_with("Application startup complete")
        yield two


def pid_in(line: str) -> int:
    found = re.search(r"worker (\d+) started", line)
    assert found
    return int(found[1])


def test_metrics_are_the_sum_over_workers_and_outlive_one(two: Served2) -> None:
    """While one worker is stopped, what is asked is answered by the other, so both have something to count."""
    first, second = two.workers
    for paused, times in ((first, 3), (second, 4)):
        os.kill(paused, signal.SIGSTOP)
        two.ask(times)
        os.kill(paused, signal.SIGCONT)
    assert two.served.metric(REQUESTS) == 7
    assert two.served.metric('satcle_points_total{model="earth-l30",source="compute"}') == 14
    assert two.served.metric("satcle_queue_points") == 0
    assert two.served.metric("satcle_build_info") == 1

    os.kill(first, signal.SIGKILL)
    assert f"worker {first} ended with -9 and is replaced" in two.line_with("replaced")
    replacement = pid_in(two.line_with("started"))
    assert replacement not in two.workers
    assert not list(two.metrics_folder.glob(f"gauge_live*_{first}.db"))
    two.ask(1)
    assert two.served.metric(REQUESTS) == 8


def test_told_to_stop_all_end_and_the_folder_of_metrics_is_gone(two: Served2) -> None:
    two.ask(1)
    two.served.process.terminate()
    assert two.served.process.wait(timeout=30) == 0
    assert not two.metrics_folder.exists()
    for worker in two.workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


def test_workers_that_cannot_start_stop_the_service() -> None:
    command = [sys.executable, "-m", "service", "serve", "--port", "0", "--workers", "2"]
    environment = {**os.environ, "SATCLE_BUNDLES": "nowhere"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "nowhere" in ended.stderr
    assert "Traceback" not in ended.stderr
