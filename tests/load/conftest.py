"""Services that are spoken to over real sockets: `satcle serve` as a process, or one with a backend of the test's."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import uvicorn

from service.app import create_app
from service.bundle import LonLat, read_bundle
from service.bundles import DEFAULT, bundle_path
from service.embedding.backends.onnx import OnnxBackend
from service.embedding.cells import cells_of, centres_of
from service.settings import Settings
from tests.load.client import Address
from tests.redis_server import HANG_S, redis

__all__ = ["redis"]


@dataclass(frozen=True)
class Places:
    """Places that requests are made of, and the row that each must be answered with, whatever happens."""

    degrees: np.ndarray
    rows: np.ndarray


@pytest.fixture(scope="session")
def places() -> Places:
    return known_places()


def known_places() -> Places:
    """Places all over the Earth, and what the model itself makes of them."""
    rng = np.random.default_rng(0)
    count = 6000
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    degrees = np.stack([rng.uniform(-180, 180, count), lat], axis=1)
    bundle = read_bundle(bundle_path(DEFAULT))
    centres = centres_of(cells_of(LonLat.from_degrees(degrees), bundle.card.snap_resolution))
    backend = OnnxBackend(bundle, "cpu")
    rows = [backend.embed(centres[slice(start, start + 512)]) for start in range(0, count, 512)]
    return Places(degrees, np.concatenate(rows))


@dataclass(frozen=True)
class Service:
    address: Address
    pid: int


@contextmanager
def serving(**environment: str) -> Iterator[Service]:
    """`satcle serve` on the default bundle, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "serve", "--port", "0"],
        env={**os.environ, **environment, "NO_COLOR": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        port = next(found[1] for line in process.stderr if (found := re.search(r"running on http://\S+:(\d+)", line)))
        logs = threading.Thread(target=process.stderr.read)  # a full pipe would block the service
        logs.start()
        yield Service(Address("127.0.0.1", int(port)), process.pid)
        process.terminate()
        logs.join(HANG_S)
    finally:
        process.kill()
        process.communicate(timeout=HANG_S)


@pytest.fixture(scope="session")
def serve() -> Callable[..., AbstractContextManager[Service]]:
    """`with serve(SATCLE_X="…") as service:`"""
    return serving


@pytest.fixture
def serve_backend() -> Callable[..., AbstractContextManager[Address]]:
    """`with serve_backend(backend, **settings) as address:` runs the default bundle's service on that backend."""

    @contextmanager
    def run(backend: Any, **settings: Any) -> Iterator[Address]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            app = create_app(Settings(**{"cache_memory_mb": 1} | settings), backend)
            server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            try:
                yield Address(*listener.getsockname())
            finally:
                server.should_exit = True
                thread.join(HANG_S)
                assert not thread.is_alive()

    return run
