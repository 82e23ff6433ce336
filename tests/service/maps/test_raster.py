import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bundle import LonLat, read_bundle
from service.bundles import DEFAULT, bundle_path
from service.embedding.backends.fake import FakeBackend
from service.embedding.backends.onnx import OnnxBackend, OnnxGridBackend
from service.embedding.units import SPARE_UNITS
from service.errors import BackendFailed, DeadlineExceeded, Overloaded
from service.maps import raster as raster_module
from service.maps.grid import BBox, Grid, lonlat_of
from service.maps.layers import Components, Similarity
from service.maps.raster import raster, strips, values_at
from service.maps.tiling import tile_grid

FOREVER = float("inf")
GLOBE = BBox.of([-180, -90, 180, 90])


class Broken(FakeBackend):
    """Fails, or answers with NaN, once it has embedded so many places."""

    def __init__(self, embedding_dim, after, error=None):
        super().__init__(embedding_dim)
        self.left, self.error = after, error

    def embed(self, lonlat):
        self.left -= len(lonlat)
        if self.left >= 0:
            return super().embed(lonlat)
        if self.error:
            raise self.error
        return np.full((len(lonlat), self.embedding_dim), np.nan, np.float32)


@given(st.integers(1, 90), st.integers(1, 60), st.integers(1, 64), st.integers(1, 3), st.integers(1, 500))
def test_a_raster_is_the_layer_at_each_pixel_whatever_its_shape(width, height, batch, bands, strip_points):
    grid = Grid.of_bbox(BBox.of([150, -80, -150, 80]), width, height)
    blocks = list(raster_module._blocks(grid, batch))
    assert max(map(len, blocks)) <= batch
    covered = np.zeros((height, width), int)
    for block in blocks:
        covered[block.rows, block.columns] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize(
    ("width", "height", "batch"), [(1, 1, 512), (7, 33, 16), (300, 5, 512), (5, 300, 64), (40, 40, 1)]
)
def test_a_raster_has_each_pixel_in_its_place(run, drawing, plain, width, height, batch):
    grid = Grid.of_bbox(BBox.of([150, -80, -150, 80]), width, height)

    async def main():
        async with drawing(max_batch_points=batch) as model:
            values = await raster(model, grid, plain, FOREVER)
            expected = plain.values(model.backend.embed(lonlat_of(grid.lons, grid.lats)))
            np.testing.assert_array_equal(values, expected.reshape(height, width, 1))
            again = await values_at(model, lonlat_of(grid.lons, grid.lats), plain, FOREVER)
            np.testing.assert_array_equal(again, expected)

    run(main())


def test_strips_follow_each_other_from_north_to_south_and_hold_few_points(run, drawing, plain, monkeypatch):
    monkeypatch.setattr(raster_module, "STRIP_POINTS", 1000)
    grid = Grid.of_bbox(GLOBE, 200, 100)

    async def main():
        async with drawing(max_batch_points=64) as model:
            parts = [strip async for strip in strips(model, grid, plain, FOREVER)]
            assert {strip.shape[1:] for strip in parts} == {(200, 1)}
            assert max(len(strip) for strip in parts) * 200 <= 1000
            np.testing.assert_array_equal(np.concatenate(parts), await raster(model, grid, plain, FOREVER))

    run(main())


def test_few_units_are_under_way_at_once_and_their_room_is_held_meanwhile(run, drawing, plain):
    grid = Grid.of_bbox(GLOBE, 100, 100)

    async def main():
        async with drawing(max_batch_points=10, worker_threads=2) as model:
            batcher = model.embedder.batcher
            computed = strips(model, grid, plain, FOREVER)
            await anext(computed)
            tasks = len(asyncio.all_tasks()) - 1
            assert tasks <= 2 + SPARE_UNITS
            assert batcher.queued_points == 10 * (2 + SPARE_UNITS)
            await computed.aclose()
            assert batcher.queued_points == 0
            assert len(asyncio.all_tasks()) == 1

    run(main())


def test_a_raster_works_where_the_queue_is_smaller_than_what_is_under_way(run, drawing, plain):
    async def main():
        async with drawing(max_batch_points=100, max_queue_points=5, max_points_per_request=5) as model:
            assert (await raster(model, Grid.of_bbox(GLOBE, 30, 30), plain, FOREVER)).shape == (30, 30, 1)

    run(main())


def test_a_full_queue_refuses_a_raster_before_it_begins(run, drawing, plain):
    async def main():
        async with drawing(max_queue_points=10, max_points_per_request=10) as model:
            with model.embedder.batcher.reserved(8), pytest.raises(Overloaded):
                await raster(model, Grid.of_bbox(GLOBE, 30, 30), plain, FOREVER)

    run(main())


def test_a_deadline_ends_a_raster(run, drawing, plain):
    async def main():
        async with drawing() as model:
            with pytest.raises(DeadlineExceeded):
                await raster(model, Grid.of_bbox(GLOBE, 30, 30), plain, asyncio.get_running_loop().time() - 1)

    run(main())


@pytest.mark.parametrize("error", [None, RuntimeError("odd"), BackendFailed("told")])
@pytest.mark.parametrize("after", [0, 5000])
def test_a_model_that_fails_fails_the_raster_and_nothing_of_it_goes_on(run, drawing, plain, after, error):
    async def main():
        async with drawing(Broken(8, after, error), max_batch_points=100) as model:
            with pytest.raises(BackendFailed):
                await raster(model, Grid.of_bbox(GLOBE, 100, 100), plain, FOREVER)
            assert len(asyncio.all_tasks()) == 1

    run(main())


@pytest.mark.parametrize(
    "values",
    [
        lambda rows: np.full((len(rows), 1), np.nan, np.float32),
        lambda rows: rows[:, 0],
        lambda rows: rows[1:, :1],
        lambda rows: rows[:, :1].astype(np.float64),
    ],
)
def test_values_that_are_none_never_leave(run, drawing, plain, values):
    plain.values = values

    async def main():
        async with drawing() as model:
            with pytest.raises(BackendFailed, match="plain returned"):
                await raster(model, Grid.of_bbox(GLOBE, 10, 10), plain, FOREVER)
            with pytest.raises(BackendFailed, match="plain returned"):
                await values_at(model, LonLat.from_degrees([[1, 2], [3, 4]]), plain, FOREVER)

    run(main())


def test_points_are_counted(run, drawing, plain):
    async def main():
        async with drawing() as model:
            await raster(model, Grid.of_bbox(GLOBE, 30, 40), plain, FOREVER)
            await values_at(model, LonLat.from_degrees([[1, 2]]), plain, FOREVER)
            assert model.embedder.metrics.points.labels("tiny", "compute")._value.get() == 1201

    run(main())


@pytest.fixture(scope="module")
def default():
    return read_bundle(bundle_path(DEFAULT))


def test_over_grids_the_default_model_is_the_same_model(default):
    lats = np.array([90, 90 - 1e-9, 89.9, 45.5, 1e-9, 0, -33.3, -89.999, -90])
    lons = np.array([-180, -179.9999, -77, 0, 12.3, 179.9, 180, 190, 538.5])
    rows = OnnxGridBackend(default, default.card.raster.file, "cpu").embed_grid(lons, lats)
    expected = OnnxBackend(default, "cpu").embed(lonlat_of(lons, lats))
    assert np.abs(rows - expected).max() < 1e-5
    poles = rows.reshape(len(lats), len(lons), -1)[[0, -1]]
    assert np.abs(poles - poles[:, :1]).max() < 4e-6  # every longitude is the pole


def test_tile_raster_and_point_agree(run, drawing, default):
    reference = LonLat.from_degrees([[116.4, 39.9]])
    backend = OnnxBackend(default, "cpu")

    async def main():
        async with drawing(backend, bundle=default) as general:
            fast = type(general)(
                **{**vars(general), "grid_backend": OnnxGridBackend(default, default.card.raster.file, "cpu")}
            )
            for layer in (
                Similarity(backend.embed(reference)),
                Components.of(default.card, default.read("components.npy")),
            ):
                for grid in (tile_grid("WebMercatorQuad", 4, 13, 6), Grid.of_bbox(GLOBE, 64, 32)):
                    quick, slow = [await raster(model, grid, layer, FOREVER) for model in (fast, general)]
                    np.testing.assert_allclose(quick, slow, atol=5e-6)
                    places = lonlat_of(grid.lons[:3], grid.lats[:3])
                    at = await values_at(general, places, layer, FOREVER)
                    np.testing.assert_allclose(quick[:3, :3].reshape(-1, layer.bands), at, atol=5e-6)
            own = await values_at(general, reference, Similarity(backend.embed(reference)), FOREVER)
            assert own[0, 0] == pytest.approx(1, abs=1e-6)

    run(main())
