"""The images, built once, and the project's containers up and healthy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.engine import Stack, engine


@pytest.fixture(scope="session")
def built() -> Iterator[Stack]:
    """The image of the CPU, built; no container runs."""
    with engine() as environment:
        stack = Stack.on(environment)
        stack.compose("build api")
        try:
            yield stack
        finally:
            stack.down()


@pytest.fixture
def stack(built: Stack) -> Iterator[Stack]:
    """The service and Redis, up and healthy, with nothing in the cache."""
    built.up()
    yield built
    built.down()
