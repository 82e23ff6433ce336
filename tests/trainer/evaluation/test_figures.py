"""The picture is a PNG of the asked size whose colours are the embedding's main directions."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile

from trainer.evaluation.components import principal_components
from trainer.evaluation.figures import land_mask, principal_components_png


def xyz_scaled(lonlat: np.ndarray) -> np.ndarray:
    """Position on the sphere, z most spread, then x, then y; and a constant that no component may show."""
    lon, lat = np.radians(lonlat).T
    position = np.stack([2 * np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), 3 * np.sin(lat)], axis=1)
    return np.column_stack([position, np.full(len(lonlat), 7.0)])


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # as any PNG
def test_the_main_direction_of_the_embedding_is_red():
    with (
        MemoryFile(
            principal_components_png(xyz_scaled, principal_components(xyz_scaled), np.ones((20, 40), bool))
        ) as memory,
        memory.open() as file,
    ):
        assert file.driver == "PNG"
        red, green, blue = file.read().astype(int)
    assert red.shape == (20, 40)
    assert (np.diff(red[:, 0]) <= 0).all() or (np.diff(red[:, 0]) >= 0).all()  # follows latitude
    assert (np.abs(red - red[:, :1]) <= 3).all()  # and hardly longitude
    along_equator = green[10]
    assert abs(int(along_equator.argmax()) - int(along_equator.argmin())) in (19, 20, 21)  # x: opposite meridians
    assert blue[10].max() - blue[10].min() > 200  # y


@pytest.mark.parametrize(
    ("lon", "lat", "is_land"),
    [(116.4, 39.9, True), (2.35, 48.86, True), (-60, -3, True), (0, -85, True), (-30, 0, False), (-150, 40, False)],
)
def test_the_land_mask_knows_land_from_sea(lon: float, lat: float, is_land: bool):
    assert land_mask()[int((90 - lat) * 2), int((lon + 180) * 2)] == is_land


def test_the_sea_is_darker(tmp_path):
    (tmp_path / "sea.png").write_bytes(
        principal_components_png(xyz_scaled, principal_components(xyz_scaled), np.zeros((20, 40), bool))
    )
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(tmp_path / "sea.png") as file:
        assert 80 < file.read().max() < 100
