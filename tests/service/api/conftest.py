"""The whole service in process, on the tiny bundle, spoken to by HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.bundle import Bundle
from service.settings import Settings

ClientMaker = Callable[..., TestClient]


@pytest.fixture
def make_client(tiny_bundle: Bundle) -> Iterator[ClientMaker]:
    """`make_client(backend=None, **settings)` starts a service of its own."""
    with ExitStack() as running:

        def make(backend: Any = None, **settings: Any) -> TestClient:
            app = create_app(Settings(**{"bundles": (str(tiny_bundle.path),)} | settings), backend)
            return running.enter_context(TestClient(app, raise_server_exceptions=False))

        yield make


@pytest.fixture(scope="session")
def client(tiny_bundle: Bundle) -> Iterator[TestClient]:
    """One service with small limits, shared by tests that change nothing."""
    settings = Settings(
        bundles=(str(tiny_bundle.path),), max_points_per_request=1000, max_body_bytes=100_000, worker_threads=2
    )
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client
