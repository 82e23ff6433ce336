"""Servers as processes of their own: the service as `satcle serve` runs it, and the modules here that serve."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

SERVE = ("service", "serve", "--port", "0")
START_S = 180.0
RUNNING = re.compile(rb"running on http://([^\s:]+):(\d+)")
Address = tuple[str, int]


@contextmanager
def running(module: str, *arguments: str | Path, **environment: str) -> Iterator[Address]:
    """`python -m module arguments`, until it says where it listens; its log goes to a file, which never fills up."""
    with TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], env={**os.environ, **environment}, stderr=log
        )
        try:
            yield _listening(process, log)
        finally:
            process.terminate()
            process.wait(timeout=START_S)


def _listening(process: subprocess.Popen[bytes], log: IO[bytes]) -> Address:
    give_up_at = time.monotonic() + START_S
    while time.monotonic() < give_up_at:
        written = os.pread(log.fileno(), 65_536, 0)
        if found := RUNNING.search(written):
            return found[1].decode(), int(found[2])
        if process.poll() is not None:
            raise RuntimeError(f"a server ended before it listened: {written.decode()}")
        time.sleep(0.05)
    raise RuntimeError(f"a server did not listen within {START_S} s")
