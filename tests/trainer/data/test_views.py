import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.config import Views
from trainer.data.views import blur, view, view_by_row
from trainer.errors import ConfigError
from trainer.seeding import generator

ROWS = torch.tensor([3, 8, 40, 41])
PLAIN = Views(count=4, flips=False, blur_sigma=None)


def tiles(side: int = 12, bands: int = 2) -> torch.Tensor:
    return torch.arange(len(ROWS) * bands * side**2, dtype=torch.float32).view(len(ROWS), bands, side, side)


def test_view_zero_is_the_tile_or_its_centre():
    assert torch.equal(view(tiles(), 0, Views(), generator(0, "v")), tiles())
    centre = view(tiles(), 0, Views(crop=4), generator(0, "v"))
    assert torch.equal(centre, tiles()[..., 4:8, 4:8])


def test_a_crop_is_a_window_of_the_tile():
    cropped = view_by_row(tiles(), ROWS, 1, PLAIN.model_copy(update={"crop": 5}), seed=0)
    for tile, crop in zip(tiles(), cropped, strict=True):
        first = int(crop[0, 0, 0] - tile[0, 0, 0])
        row, column = divmod(first, 12)
        assert torch.equal(crop, tile[:, row : row + 5, column : column + 5])


def test_crops_reach_every_place_alike():
    one = torch.arange(16.0).view(1, 1, 4, 4)
    crop = Views(count=2, crop=3, flips=False, blur_sigma=None)
    corners = [float(view(one, 1, crop, generator(seed, "v"))[0, 0, 0, 0]) for seed in range(400)]
    assert {corner: 70 < corners.count(corner) < 130 for corner in (0.0, 1.0, 4.0, 5.0)} == dict.fromkeys(
        (0.0, 1.0, 4.0, 5.0), True
    )


def test_flips_are_each_of_the_four_alike():
    one = torch.arange(9.0).view(1, 1, 3, 3)
    found = [view(one, 1, Views(count=2, blur_sigma=None), generator(seed, "v")) for seed in range(400)]
    for axes in ((), (-1,), (-2,), (-1, -2)):
        assert 70 < sum(torch.equal(one.flip(axes), flipped) for flipped in found) < 130


def test_the_same_flip_twice_is_none():
    flipped = view_by_row(tiles(), ROWS, 1, Views(count=2, blur_sigma=None), seed=0)
    again = view_by_row(flipped, ROWS, 1, Views(count=2, blur_sigma=None), seed=0)
    assert not torch.equal(flipped, tiles())
    assert torch.equal(again, tiles())


@given(st.permutations(range(len(ROWS))), st.integers(1, 3), st.integers(0, 2**40))
def test_a_view_depends_on_seed_number_and_row_alone(order, number, seed):
    asked = Views(count=4, crop=7)
    whole = view_by_row(tiles(), ROWS, number, asked, seed)
    shuffled = view_by_row(tiles()[order], ROWS[order], number, asked, seed)
    assert torch.equal(shuffled, whole[order])
    parts = [view_by_row(tiles()[[i]], ROWS[[i]], number, asked, seed) for i in range(len(ROWS))]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(whole, view_by_row(tiles(), ROWS, number + 1, asked, seed))
    assert not torch.equal(whole, view_by_row(tiles(), ROWS, number, asked, seed + 1))


def test_no_row_is_no_view():
    for number in (0, 1):
        none = view_by_row(tiles()[:0], ROWS[:0], number, Views(count=2, crop=5), seed=0)
        assert none.shape == (0, 2, 5, 5)


def test_a_crop_larger_than_the_tile_is_refused():
    with pytest.raises(ConfigError, match=r"views.crop is 13 pixels, the tiles are 12 x 12; lower it"):
        view(tiles(), 0, Views(crop=13), generator(0, "v"))


@given(st.floats(0.05, 5), st.floats(-1e3, 1e3))
def test_a_constant_stays_itself_up_to_its_edges(sigma, value):
    constant = torch.full((1, 6, 9), value)
    torch.testing.assert_close(blur(constant, sigma), constant)


def test_what_has_no_data_stays_so_and_does_not_spread():
    holed = torch.full((2, 9, 9), 7.0)
    holed[0, 2:5, 3] = torch.nan
    blurred = blur(holed, 1.5)
    torch.testing.assert_close(blurred, holed, equal_nan=True)
    empty = torch.full((1, 4, 4), torch.nan)
    assert blur(empty, 1.0).isnan().all()


def test_a_point_becomes_a_gaussian_of_the_same_sum():
    point = torch.zeros(1, 33, 33)
    point[0, 16, 16] = 1
    blurred = blur(point, 2.0)[0]
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-6)
    for row, column in ((16, 16), (16, 18), (12, 17)):
        expected = math.exp(-((row - 16) ** 2 + (column - 16) ** 2) / 8) / (8 * math.pi)
        assert float(blurred[row, column]) == pytest.approx(expected, rel=1e-4)


def test_blur_and_flip_commute():
    tile = torch.rand(3, 8, 11, generator=generator(0, "tile"))
    tile[1, 4, 5] = torch.nan
    torch.testing.assert_close(blur(tile.flip((-1, -2)), 1.2), blur(tile, 1.2).flip((-1, -2)), equal_nan=True)
