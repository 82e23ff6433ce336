"""Causal refinement (SatCLE §3.3): causal patches by attention, and smoothing of the others."""

from __future__ import annotations

from typing import Literal

import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

OFFSETS = torch.tensor([-1, 0, 1])
"""Of the box of 3 x 3 patches around a patch: itself and its 8 neighbours."""


class PatchAttention(nn.Module):
    """The attention that the patches of an image are paid in the last block of a frozen ViT.

    A_i is the mean over heads, summed over queries; the class token is neither a query nor a patch (SatCLE §3.3).
    """

    def __init__(self, adapt: nn.Module, network: VisionTransformer) -> None:
        """`adapt` maps tiles (n, bands, h, w), NaN = no data, to what `network` takes."""
        super().__init__()
        self.adapt = adapt
        self.network = network
        self.patch: int = network.patch_embed.patch_size[0]

    def forward(self, tiles: Tensor) -> Tensor:
        """(n, bands, rows · patch, columns · patch), NaN = no data → (n, rows, columns)."""
        last = self.network.blocks[-1].get_submodule("attn")
        assert isinstance(last, Attention)
        seen: list[Tensor] = []
        hook = last.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            self.network.forward_features(self.adapt(tiles))
        finally:
            hook.remove()
        attention = attention_weights(last, seen[0])[:, :, 1:, 1:]
        rows, columns = (side // self.patch for side in tiles.shape[-2:])
        return attention.mean(dim=1).sum(dim=1).view(len(tiles), rows, columns)


class CausalSmoothing(nn.Module):
    """Tiles in, the same out with the patches smoothed that attention finds not causal."""

    def __init__(self, attention: PatchAttention, share: float, method: Literal["causal", "published"]) -> None:
        super().__init__()
        self.attention = attention
        self.share = share
        self.method = method

    def forward(self, tiles: Tensor) -> Tensor:
        """(n, bands, h, w), NaN = no data → the same shape."""
        whole = padded(tiles, self.attention.patch)
        causal = causal_patches(self.attention(whole), self.share)
        height, width = tiles.shape[-2:]
        return smooth(whole, causal, self.method)[..., :height, :width]


def attention_weights(attention: Attention, tokens: Tensor) -> Tensor:
    """Softmax of the scaled products of queries and keys, from a block's own input (n, t, d) → (n, heads, t, t)."""
    n, count, _ = tokens.shape
    qkv = attention.qkv(tokens).view(n, count, 3, attention.num_heads, attention.head_dim)
    query, key, _ = qkv.permute(2, 0, 3, 1, 4)
    query, key = attention.q_norm(query), attention.k_norm(key)
    weights: Tensor = (query * attention.scale @ key.transpose(-2, -1)).softmax(dim=-1)
    return weights


def causal_patches(attention: Tensor, share: float) -> Tensor:
    """Which patches are causal, A_i ≥ τ (Eq. 6): (n, rows, columns) → the same, bool.

    τ is the lowest value of an image above its lowest `share` of patches, their number rounded. Patches of equal
    attention share one lot, so where some tie with τ fewer are smoothed, and of equal ones none.
    """
    flat = attention.flatten(1)
    below = min(round(share * flat.shape[1]), flat.shape[1] - 1)
    threshold = flat.sort(dim=1).values[:, below]
    return attention >= threshold[:, None, None]


def smooth(tiles: Tensor, causal: Tensor, method: Literal["causal", "published"]) -> Tensor:
    """Attentional semantic smoothing (SatCLE Eq. 6).

    `tiles` (n, bands, rows · p, columns · p), NaN = no data; `causal` (n, rows, columns) bool. A patch that is not
    causal becomes the mean, pixel by pixel, of the causal patches among its 8 neighbours; where none is, and with
    `published` always, each of its bands becomes one value, the mean over the box of 3 x 3 patches around it, which
    ends at the image's edge. Means are of valid pixels, and a pixel without any stays as it is.
    """
    n, bands, height, width = tiles.shape
    rows, columns = causal.shape[1:]
    patches = tiles.view(n, bands, rows, height // rows, columns, width // columns).permute(0, 2, 4, 1, 3, 5)
    image, row, column = (~causal).nonzero(as_tuple=True)
    at, inside = _boxes(image, row, column, (rows, columns))
    box = patches[at].double().where(inside[..., None, None, None], torch.nan)
    new = box.nanmean(dim=(0, 3, 4), keepdim=True)[0].expand_as(box[0])
    if method == "causal":
        near = box.where(causal[at][..., None, None, None], torch.nan)
        new = _first_valid(near.nanmean(dim=0), new)
    smoothed = patches.clone()
    smoothed[image, row, column] = _first_valid(new.to(tiles.dtype), patches[image, row, column])
    return smoothed.permute(0, 3, 1, 4, 2, 5).reshape(tiles.shape)


def padded(tiles: Tensor, patch: int) -> Tensor:
    """Tiles grown to the right and below to whole patches, by pixels without data."""
    height, width = tiles.shape[-2:]
    return functional.pad(tiles, (0, -width % patch, 0, -height % patch), value=torch.nan)


def _boxes(
    image: Tensor, row: Tensor, column: Tensor, shape: tuple[int, int]
) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Indices (9, k) of the boxes of k patches, and which of them lie inside the image."""
    down, right = torch.cartesian_prod(OFFSETS, OFFSETS).to(row).T[..., None]
    rows, columns = row + down, column + right
    within = rows.clamp(0, shape[0] - 1), columns.clamp(0, shape[1] - 1)
    return (image.expand_as(rows), *within), (rows == within[0]) & (columns == within[1])


def _first_valid(first: Tensor, second: Tensor) -> Tensor:
    return torch.where(first.isnan(), second, first)
