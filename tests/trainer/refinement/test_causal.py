import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.models.vision_transformer import VisionTransformer

from trainer.refinement.causal import (
    CausalSmoothing,
    PatchAttention,
    attention_weights,
    causal_patches,
    padded,
    smooth,
)

PATCH = 2
SEEDS = st.integers(0, 10_000)
METHODS = st.sampled_from(["causal", "published"])


def images(seed: int, n: int = 2, bands: int = 3, rows: int = 4, columns: int = 5) -> torch.Tensor:
    return torch.randn(n, bands, rows * PATCH, columns * PATCH, generator=torch.Generator().manual_seed(seed))


def causal_at_random(seed: int, share: float, n: int = 2, rows: int = 4, columns: int = 5) -> torch.Tensor:
    return torch.rand(n, rows, columns, generator=torch.Generator().manual_seed(seed)) >= share


def patch_of(image: torch.Tensor, row: int, column: int) -> torch.Tensor:
    return image[:, row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH]


def box(rows: int, columns: int, row: int, column: int) -> list[tuple[int, int]]:
    """The patch and its neighbours, as far as the image goes."""
    return [
        (r, c)
        for r in range(row - 1, row + 2)
        for c in range(column - 1, column + 2)
        if 0 <= r < rows and 0 <= c < columns
    ]


def by_hand(image: torch.Tensor, causal: torch.Tensor, method: str) -> torch.Tensor:
    """Eq. 6, patch by patch."""
    rows, columns = causal.shape
    result = image.clone()
    for row in range(rows):
        for column in range(columns):
            if causal[row, column]:
                continue
            around = box(rows, columns, row, column)
            near = [patch_of(image, *at) for at in around if causal[at]]
            if near and method == "causal":
                new = torch.stack(near).mean(dim=0)
            else:
                pixels = torch.stack([patch_of(image, *at) for at in around])
                new = pixels.mean(dim=(0, 2, 3))[:, None, None].expand(-1, PATCH, PATCH)
            patch_of(result, row, column).copy_(new)
    return result


@given(SEEDS, METHODS, st.sampled_from([0.1, 0.5, 0.95]))
def test_smoothing_is_equation_6(seed, method, share):
    given_images, causal = images(seed), causal_at_random(seed + 1, share)
    expected = torch.stack([by_hand(*each, method) for each in zip(given_images, causal, strict=True)])
    torch.testing.assert_close(smooth(given_images, causal, method), expected, atol=1e-6, rtol=0)


def test_a_patch_becomes_the_mean_of_its_causal_neighbours_alone():
    """3 x 3 patches of one pixel: the middle and the corner are not causal; the middle is the mean of the seven."""
    image = torch.arange(9.0).view(1, 1, 3, 3)
    causal = torch.ones(1, 3, 3, dtype=torch.bool)
    causal[0, 1, 1] = causal[0, 2, 2] = False
    assert smooth(image, causal, "causal")[0, 0, 1, 1] == (0 + 1 + 2 + 3 + 5 + 6 + 7) / 7
    assert smooth(image, causal, "causal")[0, 0, 2, 2] == (5 + 7) / 2
    assert smooth(image, causal, "published")[0, 0, 1, 1] == 4
    assert smooth(image, causal, "published")[0, 0, 2, 2] == (4 + 5 + 7 + 8) / 4


@given(SEEDS, METHODS)
def test_causal_patches_are_untouched_and_the_others_lie_among_their_box(seed, method):
    given_images, causal = images(seed), causal_at_random(seed + 1, 0.4)
    result = smooth(given_images, causal, method)
    for i, row, column in torch.cartesian_prod(torch.arange(2), torch.arange(4), torch.arange(5)).tolist():
        new = patch_of(result[i], row, column)
        if causal[i, row, column]:
            assert torch.equal(new, patch_of(given_images[i], row, column))
        else:
            near = torch.stack([patch_of(given_images[i], *at) for at in box(4, 5, row, column)])
            low, high = near.amin(dim=(0, 2, 3)), near.amax(dim=(0, 2, 3))
            assert (new >= low[:, None, None] - 1e-6).all()
            assert (new <= high[:, None, None] + 1e-6).all()


@given(SEEDS, METHODS, st.sampled_from([(-1,), (-2,), (-1, -2)]))
def test_smoothing_commutes_with_flips(seed, method, axes):
    given_images, causal = images(seed), causal_at_random(seed + 1, 0.4)
    flipped = smooth(given_images.flip(axes), causal.flip(axes), method)
    torch.testing.assert_close(flipped, smooth(given_images, causal, method).flip(axes), atol=1e-6, rtol=0)


@given(SEEDS, METHODS)
def test_a_constant_image_stays_itself(seed, method):
    constant = torch.tensor([0.1, -3.7, 1e5]).view(1, 3, 1, 1).expand(2, 3, 8, 10).contiguous()
    assert torch.equal(smooth(constant, causal_at_random(seed, 0.6), method), constant)


@given(SEEDS, METHODS)
def test_no_data_takes_no_part_in_a_mean(seed, method):
    """Means are of the valid pixels: an infinite value in their stead would show."""
    given_images, causal = images(seed), causal_at_random(seed + 1, 0.5)
    hole = torch.rand(given_images.shape, generator=torch.Generator().manual_seed(seed + 2)) < 0.3
    result = smooth(given_images.masked_fill(hole, torch.nan), causal, method)
    kept = causal.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)[:, None].expand_as(hole)
    assert torch.equal(result.isnan() & kept, hole & kept)
    valid = ~result.isnan()
    assert float(result[valid].abs().max()) <= float(given_images[~hole].abs().max())


def test_a_pixel_without_any_data_around_it_stays_without():
    image = torch.full((1, 1, 6, 6), torch.nan)
    image[..., :2, :2] = 1.0
    causal = torch.ones(1, 3, 3, dtype=torch.bool)
    causal[0, 0, 1] = causal[0, 2, 2] = False
    result = smooth(image, causal, "causal")[0, 0]
    assert (result[:2, 2:4] == 1).all()
    assert result[4:, 4:].isnan().all()


@given(SEEDS, st.floats(0, 0.99), st.integers(1, 6), st.integers(1, 6))
def test_the_lowest_share_is_not_causal(seed, share, rows, columns):
    attention = torch.rand(3, rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    causal = causal_patches(attention, share)
    count = min(round(share * rows * columns), rows * columns - 1)
    assert ((~causal).flatten(1).sum(dim=1) == count).all()
    for values, kept in zip(attention, causal, strict=True):
        if count:
            assert float(values[~kept].max()) < float(values[kept].min())


def test_of_equal_patches_none_is_smoothed_rather_than_some():
    assert causal_patches(torch.ones(1, 4, 4), 0.5).all()
    attention = torch.tensor([[[0.0, 1.0, 1.0, 2.0]]])
    assert causal_patches(attention, 0.5).tolist() == [[[False, True, True, True]]]


@given(SEEDS, METHODS)
def test_share_0_is_the_identity(seed, method):
    given_images = images(seed)
    causal = causal_patches(torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(seed)), 0.0)
    assert torch.equal(smooth(given_images, causal, method), given_images)


def vit(**more: object) -> VisionTransformer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        described = {"img_size": 16, "patch_size": 4, "in_chans": 3, "num_classes": 0, "embed_dim": 12, "num_heads": 3}
        return VisionTransformer(**described, depth=2, dynamic_img_size=True, **more).eval()


class Filled(torch.nn.Module):
    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        return tiles.nan_to_num(0.0)


def test_attention_is_the_last_block_s_own():
    """Weights from the hook, applied to the values, give what the block itself gives, fused or not."""
    network = vit()
    block = network.blocks[-1].attn
    tokens = torch.randn(2, 17, 12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        weights = attention_weights(block, tokens)
        values = block.qkv(tokens).view(2, 17, 3, 3, 4).permute(2, 0, 3, 1, 4)[2]
        ours = block.proj((weights @ values).transpose(1, 2).reshape(2, 17, 12))
        torch.testing.assert_close(ours, block(tokens), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 3, 17))


def test_a_patch_s_value_is_the_mean_over_heads_summed_over_the_queries_of_patches():
    network, tiles = vit(), torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    seen = []
    network.blocks[-1].attn.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        found = PatchAttention(Filled(), network)(tiles)
        weights = attention_weights(network.blocks[-1].attn, seen[0])
    for i, row, column in [(0, 0, 0), (0, 1, 2), (1, 3, 3)]:
        key = 1 + 4 * row + column
        expected = sum(float(weights[i, head, query, key]) for head in range(3) for query in range(1, 17)) / 3
        assert float(found[i, row, column]) == pytest.approx(expected, rel=1e-5)
    assert len(network.blocks[-1].attn._forward_pre_hooks) == 1  # this test's own


def test_a_tile_of_any_size_is_smoothed_and_none_is_disturbed_by_others():
    smoothing = CausalSmoothing(PatchAttention(Filled(), vit()), 0.25, "causal")
    tiles = torch.randn(3, 3, 18, 21, generator=torch.Generator().manual_seed(1))
    tiles[0, 1, 3:7] = torch.nan
    with torch.no_grad():
        together = smoothing(tiles)
        alone = torch.cat([smoothing(tile[None]) for tile in tiles])
    assert together.shape == tiles.shape
    assert torch.equal(together.isnan(), alone.isnan())
    torch.testing.assert_close(together.nan_to_num(), alone.nan_to_num())
    changed = (together != tiles) & ~(together.isnan() & tiles.isnan())
    by_patch = padded(changed.any(dim=1, keepdim=True).float(), 4).nan_to_num().view(3, 5, 4, 6, 4).amax(dim=(2, 4))
    assert by_patch.flatten(1).sum(dim=1).tolist() == [8, 8, 8]  # round(0.25 · 30)


def test_padding_is_without_data_and_only_where_it_must_be():
    assert padded(torch.zeros(1, 1, 8, 8), 4).shape == (1, 1, 8, 8)
    grown = padded(torch.zeros(1, 1, 7, 9), 4)
    assert grown.shape == (1, 1, 8, 12)
    assert int(grown.isnan().sum()) == 8 * 12 - 7 * 9
