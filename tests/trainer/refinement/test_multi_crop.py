import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.vision import Crops
from trainer.refinement.multi_crop import blurred, jittered, multi_crop, random_resized_crop
from trainer.seeding import generator


def ramps(n: int, size: int) -> torch.Tensor:
    """Two bands whose value is the pixel centre's own place along x and y, 0 to 1."""
    along = (torch.arange(size) + 0.5) / size
    return torch.stack(torch.meshgrid(along, along, indexing="xy")).expand(n, 2, size, size).contiguous()


def test_two_global_views_and_the_local_ones():
    views = multi_crop(torch.randn(3, 5, 32, 32), Crops(local_crops=4), (32, 12), generator(0, "test"))
    assert [tuple(view.shape) for view in views] == [(3, 5, 32, 32)] * 2 + [(3, 5, 12, 12)] * 4
    assert not torch.equal(views[0], views[1])


def test_the_same_generator_draws_the_same_views():
    tiles = torch.randn(3, 5, 16, 16, generator=torch.Generator().manual_seed(0))
    one, same, other = (multi_crop(tiles, Crops(), (16, 8), generator(0, "test", draw)) for draw in (0, 0, 1))
    assert all(map(torch.equal, one, same))
    assert not any(map(torch.equal, one, other))


@given(st.integers(0, 10_000), st.sampled_from([(0.05, 0.4), (0.4, 1.0), (0.25, 0.25)]))
def test_a_crop_lies_in_the_tile_and_has_its_share_of_area_and_aspect(seed, area):
    """On ramps a crop's own values tell where it was cut: their slopes are its width and height."""
    crop = random_resized_crop(ramps(8, 64), area, 16, generator(seed, "test"))
    assert 0 <= float(crop.min()) <= float(crop.max()) <= 1
    inner = crop[:, :, 4:12, 4:12]  # away from the edge, where there is nothing to interpolate with
    width = (inner[:, 0, :, 1:] - inner[:, 0, :, :-1]).mean(dim=(1, 2)).abs() * 16
    height = (inner[:, 1, 1:] - inner[:, 1, :-1]).mean(dim=(1, 2)).abs() * 16
    shares, aspects = width * height, width / height
    assert float(shares.max()) <= area[1] + 1e-3
    assert float(shares.min()) >= area[0] * (1 if area[1] < 0.75 else math.sqrt(3) / 2) - 1e-3
    if area[1] < 0.75:  # larger boxes may be cut off by the tile
        assert float(aspects.min()) >= 3 / 4 - 1e-3
        assert float(aspects.max()) <= 4 / 3 + 1e-3


def test_crops_are_flipped_either_way_half_of_the_time():
    crop = random_resized_crop(ramps(2000, 16), (0.4, 1.0), 4, generator(0, "test"))
    across, down = crop[:, 0, 0, 3] < crop[:, 0, 0, 0], crop[:, 1, 3, 0] < crop[:, 1, 0, 0]
    assert float(across.float().mean()) == pytest.approx(0.5, abs=0.05)
    assert float(down.float().mean()) == pytest.approx(0.5, abs=0.05)
    assert float((across & down).float().mean()) == pytest.approx(0.25, abs=0.05)


def test_jitter_is_one_gain_and_one_shift_a_band():
    tiles = torch.randn(500, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    result = jittered(tiles, 0.4, generator(0, "test"))
    x, y = tiles.flatten(2), result.flatten(2)
    gain = (y[..., 1] - y[..., 0]) / (x[..., 1] - x[..., 0])
    shift = y[..., 0] - gain * x[..., 0]
    torch.testing.assert_close(y, gain[..., None] * x + shift[..., None], atol=1e-2, rtol=1e-2)
    untouched = (result == tiles).flatten(1).all(dim=1)
    assert float(untouched.float().mean()) == pytest.approx(0.2, abs=0.05)
    assert 0.6 - 1e-2 <= float(gain.min()) < 0.7
    assert 1.3 < float(gain.max()) <= 1.4 + 1e-2
    assert float(shift.abs().max()) <= 0.4 + 1e-2
    assert torch.equal(jittered(tiles, 0.0, generator(0, "test")), tiles)


def test_blur_keeps_constants_and_spreads_an_impulse_by_its_deviation():
    constant = torch.full((4, 2, 16, 16), 3.25)
    torch.testing.assert_close(blurred(constant, (0.1, 2.0), 1.0, generator(0, "test")), constant)
    impulse = torch.zeros(1, 1, 33, 33)
    impulse[0, 0, 16, 16] = 1.0
    spread = blurred(impulse, (1.5, 1.5), 1.0, generator(0, "test"))[0, 0]
    assert float(spread.sum()) == pytest.approx(1, abs=1e-5)
    along = torch.arange(33.0) - 16
    assert float((spread.sum(dim=0) * along.square()).sum()) == pytest.approx(1.5**2, rel=0.03)
    torch.testing.assert_close(spread, spread.T)


def test_only_a_share_of_the_tiles_is_blurred():
    tiles = torch.randn(1000, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    result = blurred(tiles, (1.0, 2.0), 0.3, generator(0, "test"))
    changed = (result != tiles).flatten(1).any(dim=1)
    assert float(changed.float().mean()) == pytest.approx(0.3, abs=0.05)
    assert torch.equal(blurred(tiles, (1.0, 2.0), 0.0, generator(0, "test")), tiles)


def test_a_blur_wider_than_a_view_is_cut_to_it():
    assert blurred(torch.randn(2, 1, 4, 4), (2.0, 2.0), 1.0, generator(0, "test")).isfinite().all()


def test_sizes_of_views_follow_the_tile():
    assert Crops().sizes(256, 16) == (224, 96)  # DINO's own
    assert Crops().sizes(32, 4) == (32, 12)
    assert Crops().sizes(10, 4) == (8, 4)
    assert Crops(global_size=48, local_size=20).sizes(256, 16) == (48, 20)
