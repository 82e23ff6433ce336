import torch

from trainer.data.transforms import Standardise


def test_each_band_has_mean_zero_and_deviation_one():
    tiles = (
        torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        * torch.tensor([1.0, 50.0, 1e-3])[:, None, None]
        + torch.tensor([0.0, 1e4, -3.0])[:, None, None]
    )
    pixels = Standardise.fit(tiles)(tiles).transpose(0, 1).flatten(1)
    torch.testing.assert_close(pixels.mean(1), torch.zeros(3), atol=2e-4, rtol=0)
    torch.testing.assert_close(pixels.std(1, correction=0), torch.ones(3), atol=1e-3, rtol=0)


def test_no_data_counts_for_nothing_and_becomes_the_mean():
    tiles = torch.tensor([1.0, 3.0, torch.nan, torch.nan]).view(1, 1, 2, 2)
    assert Standardise.fit(tiles)(tiles).flatten().tolist() == [-1.0, 1.0, 0.0, 0.0]


def test_constant_and_empty_bands_stay_finite():
    tiles = torch.stack((torch.full((4, 4), 7.0), torch.full((4, 4), torch.nan)))[None]
    assert torch.equal(Standardise.fit(tiles)(tiles), torch.zeros(1, 2, 4, 4))
