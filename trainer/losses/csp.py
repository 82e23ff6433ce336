"""The objective of CSP (Mai et al. 2023, §3.3): contrast within the batch, with other places, and with itself.

Its auxiliary losses are what CSP has over SatCLIP: places drawn at random are no match for an image (`L`), and the
same place under another dropout is a match for itself (`D`, SimCSE, Gao et al. 2021).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from trainer.losses.contrastive import BLOCK, contrastive_loss
from trainer.processes import Share

PLACES_ELSEWHERE = 1
"""Random places for each image, as CSP's published runs draw them."""


def csp_loss(
    location: Tensor,
    image: Tensor,
    logit_scale: Tensor,
    elsewhere: Tensor,
    again: Tensor,
    share: Share | None = None,
    *,
    elsewhere_weight: float = 1.0,
    dropout_weight: float = 1.0,
) -> Tensor:
    """contrast(location, image) + elsewhere_weight · L + dropout_weight · D.

    `location`, `image` and `again` are (n, dim), row by row of one place; `elsewhere` (n, k, dim) are k random places
    for each. All are normalised here. `again` is `location` by a second pass, whose dropout differs. `share` as for
    `contrastive_loss`. One logit_scale serves all three, where CSP has a fixed temperature for each.
    """
    in_batch = contrastive_loss(location, image, logit_scale, share)
    from_dropout = dropout_loss(location, again, logit_scale, share)
    from_elsewhere = elsewhere_loss(location, image, logit_scale, elsewhere, share)
    return in_batch + elsewhere_weight * from_elsewhere + dropout_weight * from_dropout


def elsewhere_loss(
    location: Tensor, image: Tensor, logit_scale: Tensor, elsewhere: Tensor, share: Share | None = None
) -> Tensor:
    """L: cross-entropy of each image's own place against its k random ones."""
    places = functional.normalize(torch.cat([location[:, None], elsewhere], dim=1).float(), dim=2)
    similarity = (places @ functional.normalize(image.float(), dim=1)[:, :, None])[:, :, 0]
    own = torch.zeros(len(image), dtype=torch.int64, device=image.device)
    by_row = functional.cross_entropy(logit_scale * similarity, own, reduction="none")
    return (share or Share(len(location))).mean(by_row)


def dropout_loss(location: Tensor, again: Tensor, logit_scale: Tensor, share: Share | None = None) -> Tensor:
    """D: cross-entropy of each place's second pass against those of the others, from the first pass alone.

    It is not symmetric: a second pass is never asked for its first. Similarities are computed again for the gradient,
    a block of rows at a time.
    """
    share = share or Share(len(location))
    first = functional.normalize(location.float(), dim=1)
    second: Tensor = _Whole.apply(functional.normalize(again.float(), dim=1), share)
    own = torch.arange(share.rows, device=location.device)[share.own]
    by_row = [
        checkpoint(_cross_entropy, rows, second, logit_scale, match, use_reentrant=False, preserve_rng_state=False)
        for rows, match in zip(torch.split(first, BLOCK), torch.split(own, BLOCK), strict=True)
    ]
    return share.mean(torch.cat(by_row))


def draw_elsewhere(places: int, count: int, rng: torch.Generator) -> Tensor:
    """`count` random places for each of `places`, uniform by area: (places, count, 2) float64 degrees."""
    unit = torch.rand(places, count, 2, dtype=torch.float64, generator=rng)
    return torch.stack([360 * unit[..., 0] - 180, torch.rad2deg(torch.asin(2 * unit[..., 1] - 1))], dim=-1)


def _cross_entropy(rows: Tensor, others: Tensor, logit_scale: Tensor, match: Tensor) -> Tensor:
    return functional.cross_entropy(logit_scale * rows @ others.T, match, reduction="none")


class _Whole(torch.autograd.Function):
    """`Share.whole` with a gradient: what all processes find for a row reaches the one whose row it is."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, share: Share) -> Tensor:  # noqa: ANN401
        ctx.share = share
        return share.whole(part)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        return ctx.share.total(gradient)[ctx.share.own], None
