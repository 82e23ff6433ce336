"""The objective of CSP (Mai et al. 2023, §3.3): contrast within the batch, with other places, and with itself.

Its auxiliary losses are what CSP has over SatCLIP: places drawn at random are no match for an image (`L`), and the
same place under another dropout is a match for itself (`D`, SimCSE, Gao et al. 2021).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from trainer.losses.contrastive import contrastive_loss
from trainer.processes import Share


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
    """contrast(location, image) + elsewhere_weight · L + dropout_weight · contrast(location, again).

    `location`, `image` and `again` are (n, dim), row by row of one place; `elsewhere` (n, k, dim) are k random places
    for each. All are normalised here. `again` is `location` by a second pass, whose dropout differs. `share` as for
    `contrastive_loss`; L is a mean over this process's rows, which equal shares make the mean over all.
    """
    in_batch = contrastive_loss(location, image, logit_scale, share)
    from_dropout = contrastive_loss(location, again, logit_scale, share)
    from_elsewhere = elsewhere_loss(location, image, logit_scale, elsewhere)
    return in_batch + elsewhere_weight * from_elsewhere + dropout_weight * from_dropout


def elsewhere_loss(location: Tensor, image: Tensor, logit_scale: Tensor, elsewhere: Tensor) -> Tensor:
    """Cross-entropy of each image's own place against its k random ones (CSP, Eq. 8)."""
    places = functional.normalize(torch.cat([location[:, None], elsewhere], dim=1).float(), dim=2)
    similarity = (places @ functional.normalize(image.float(), dim=1)[:, :, None])[:, :, 0]
    own = torch.zeros(len(image), dtype=torch.int64, device=image.device)
    return functional.cross_entropy(logit_scale * similarity, own)


def draw_elsewhere(places: int, count: int, rng: torch.Generator) -> Tensor:
    """`count` random places for each of `places`, uniform by area: (places, count, 2) float64 degrees."""
    unit = torch.rand(places, count, 2, dtype=torch.float64, generator=rng)
    return torch.stack([360 * unit[..., 0] - 180, torch.rad2deg(torch.asin(2 * unit[..., 1] - 1))], dim=-1)
