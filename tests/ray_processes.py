"""The command `satcle` with Ray on this machine, and the worker processes that Ray has started for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

WORKER = b"ray::MapWorker"
"""How Ray calls the processes of a pool, once they are at work."""
SECONDS = 600
LOOK_EVERY_S = 0.05


@contextmanager
def satcle(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The running command. Ray is its own: no cluster that may run on this machine is joined."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment["RAY_worker_niceness"] = "0"  # else all that the machine has to do goes before
    process = subprocess.Popen(
        [sys.executable, "-m", "service", *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=60)


def output_of(process: subprocess.Popen[str]) -> str:
    """What the command has printed when it has ended well."""
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, output
    return output


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something has happened while the command runs."""
    for _ in range(int(SECONDS / LOOK_EVERY_S)):
        if happened():
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_EVERY_S)
            pytest.fail(f"it ended before: {process.communicate()[0]}")
    pytest.fail("it never happened")


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The ids of the pool's processes that descend from the command."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
                command = (folder / "cmdline").read_bytes()
            except OSError:  # it has ended
                continue
            parents[int(folder.name)] = (int(stat.rpartition(")")[2].split()[1]), command)
    workers = [pid for pid, (_, command) in parents.items() if command.startswith(WORKER)]
    return [pid for pid in workers if _descends(pid, process.pid, parents)]


def _descends(pid: int, ancestor: int, parents: dict[int, tuple[int, bytes]]) -> bool:
    while pid in parents:
        if pid == ancestor:
            return True
        pid = parents[pid][0]
    return False
