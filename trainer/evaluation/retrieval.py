"""Which tile belongs to a place: retrieval among held-out tiles."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

CHUNK = 1024


def retrieval_ranks(location: Tensor, image: Tensor) -> Tensor:
    """Rank, from 1, of each place's own tile among all by cosine similarity: (n, dim) twice → (n,) int64.

    Ties count against the place: a constant embedding ranks last, not first.
    """
    image = functional.normalize(image, dim=1)
    ranks = []
    for start in range(0, len(location), CHUNK):
        similarity = functional.normalize(location[start : start + CHUNK], dim=1) @ image.T
        own = similarity.diagonal(offset=start)[:, None]
        ranks.append((similarity >= own).sum(dim=1))
    return torch.cat(ranks)
