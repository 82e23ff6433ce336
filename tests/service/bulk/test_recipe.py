"""How many places are embedded at once: as many as the provider likes, or as is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from service.bulk.recipe import Recipe
from service.bundle import LonLat
from service.embedding.backends.fake import FakeBackend

PLACES = LonLat.from_degrees(np.random.default_rng(0).uniform(-80, 80, (1100, 2)))


class Counting(FakeBackend):
    """Keeps the sizes of its batches."""

    def __init__(self, provider: str) -> None:
        super().__init__(8)
        self.provider = provider
        self.sizes: list[int] = []

    def embed(self, lonlat: LonLat) -> np.ndarray:
        self.sizes.append(len(lonlat))
        return super().embed(lonlat)


@pytest.mark.parametrize(
    ("provider", "asked", "sizes"),
    [("cpu", None, [512, 512, 76]), ("cuda", None, [1100]), ("cpu", 500, [500, 500, 100]), ("cuda", 1000, [1000, 100])],
)
def test_batches_are_of_the_providers_size_or_of_that_asked_for(tiny_bundle, provider, asked, sizes):
    backend = Counting(provider)
    recipe = Recipe.of(tiny_bundle.card, backend, exact=True, dimensions=None, normalize=False, batch_points=asked)
    _, rows = recipe.embed(PLACES)
    assert backend.sizes == sizes
    np.testing.assert_array_equal(rows, FakeBackend(8).embed(PLACES))
