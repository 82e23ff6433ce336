import numpy as np
import pytest
import torch
from torch.nn.functional import relu

from trainer.config import RandomFeaturesConfig
from trainer.data.transforms import Standardise
from trainer.models.image_tower import (
    BandStatistics,
    ImageProjection,
    ImageTower,
    RandomConvolutionalFeatures,
    band_statistics,
)
from trainer.seeding import generator


def tiles(n: int = 40, bands: int = 3, size: int = 8) -> torch.Tensor:
    """Smooth noise: neighbouring pixels and bands are correlated, so that whitening has something to do."""
    noise = torch.randn(n, bands, size + 2, size + 2, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(noise, 3, stride=1)
    return smooth + 0.5 * smooth.mean(dim=1, keepdim=True)


def test_features_are_two_sided_means_of_the_filter_responses():
    weight = torch.zeros(1, 1, 1, 1) + 2.0
    features = RandomConvolutionalFeatures(weight, torch.tensor([0.5]), bias=1.0)
    pixels = torch.tensor([[0.0, 1.0], [-1.0, -3.0]])
    response = 2 * pixels + 0.5
    expected = [[float(relu(response - 1).mean()), float(relu(-response - 1).mean())]]
    assert features(pixels[None, None]).tolist() == expected == [[0.375, 1.25]]


def test_filters_see_whitened_patches():
    """Over the patches they were fitted on, responses of unit filters have mean 0 and deviation about 1."""
    config = RandomFeaturesConfig(filters=64, whitening=1e-6)
    standard = Standardise.fit(tiles(400))(tiles(400))
    features = RandomConvolutionalFeatures.fit(standard, config, generator(0, "filters"))
    response = torch.nn.functional.conv2d(standard, features.weight, features.shift).transpose(0, 1).flatten(1)
    assert float(response.mean(dim=1).abs().max()) < 0.1
    torch.testing.assert_close(response.std(dim=1), torch.ones(64), atol=0.15, rtol=0)


def test_the_tower_is_frozen_seeded_and_takes_no_data():
    config = RandomFeaturesConfig(filters=5, scales=(1.0, 0.5))
    given = tiles()
    given[0, 1] = torch.nan
    one, same, other = (ImageTower.fit(given, config, generator(0, "filters", draw)) for draw in (0, 0, 1))
    features = one(given)
    assert features.shape == (40, 2 * 5 + 2 * 2 * 3)
    assert features.isfinite().all()
    assert not features.requires_grad
    assert list(one.parameters()) == []
    assert torch.equal(features, same(given))
    assert not torch.equal(features, other(given))


@pytest.mark.parametrize(("scale", "rows"), [(1.0, slice(0, 8)), (0.5, slice(2, 6)), (0.25, slice(3, 5))])
def test_statistics_are_those_of_the_centred_crop(scale, rows):
    given = tiles()
    crop = given[:, :, rows, rows].flatten(2)
    expected = torch.cat((crop.mean(2), crop.std(2, correction=0)), dim=1)
    torch.testing.assert_close(band_statistics(given, scale), expected)


def test_the_projection_standardises_before_its_linear_map():
    projection = ImageProjection(torch.tensor([1.0, 10.0]), torch.tensor([2.0, 5.0]), 3)
    with torch.no_grad():
        projected = projection(torch.tensor([[1.0, 10.0], [3.0, 15.0]]))
    torch.testing.assert_close(projected[0], projection.linear.bias.detach())
    torch.testing.assert_close(projected[1] - projected[0], projection.linear.weight.detach().sum(dim=1))


def test_windowed_statistics_are_those_of_the_weighted_pixels():
    tiles = torch.randn(3, 2, 6, 4, generator=torch.Generator().manual_seed(0)).double()
    tiles[1, 0, :2] = torch.nan
    found = BandStatistics.fit(tiles, sigma=0.3)(tiles)
    down, right = (np.arange(6) + 0.5) / 6 - 0.5, (np.arange(4) + 0.5) / 4 - 0.5
    window = np.exp(-(down[:, None] ** 2 + right**2) / (2 * 0.3**2))
    for tile, row in zip(tiles.numpy(), found.numpy(), strict=True):
        for band, (mean, deviation) in enumerate(zip(row[:2], row[2:], strict=True)):
            valid = ~np.isnan(tile[band])
            expected = np.average(tile[band][valid], weights=window[valid])
            spread = np.average((tile[band][valid] - expected) ** 2, weights=window[valid]) ** 0.5
            assert (mean, deviation) == pytest.approx((expected, spread))


def test_a_band_without_a_valid_pixel_counts_as_in_the_average_tile():
    tiles = torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    tiles[2, 1] = torch.nan
    found = BandStatistics.fit(tiles, sigma=0.2)(tiles)
    others = found[[0, 1, 3, 4]]
    torch.testing.assert_close(found[2, [1, 3]], others[:, [1, 3]].mean(dim=0))
    assert found[2, [0, 2]].tolist() == BandStatistics.fit(tiles[:, :1], sigma=0.2)(tiles[2:3, :1])[0].tolist()
