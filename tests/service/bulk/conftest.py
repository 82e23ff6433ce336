from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.bulk.local import Files, Report, embed_table
from service.bulk.recipe import Recipe
from service.bundle import Bundle
from service.embedding.backends.base import Backend
from service.embedding.backends.onnx import OnnxBackend

Embed = Callable[..., Report]


@pytest.fixture(scope="session")
def tiny_backend(tiny_bundle: Bundle) -> Backend:
    return OnnxBackend(tiny_bundle, "cpu")


@pytest.fixture(scope="session")
def embed(tiny_bundle: Bundle, tiny_backend: Backend) -> Embed:
    """`embed(source, target, exact=…, dimensions=…, normalize=…, backend=…, lon=…, lat=…, overwrite=…)`."""

    def run(
        source: Path,
        target: Path,
        *,
        backend: Backend = tiny_backend,
        exact: bool = False,
        dimensions: int | None = None,
        normalize: bool = False,
        **files: Any,
    ) -> Report:
        recipe = Recipe.of(tiny_bundle.card, backend, exact=exact, dimensions=dimensions, normalize=normalize)
        return embed_table(Files(source, target, **files), tiny_bundle.card, recipe, threads=3)

    return run
