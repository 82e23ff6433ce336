"""The symmetric contrastive loss (CLIP; SatCLIP §3.2; SatCLE Eq. 7), over one process or several."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from trainer.processes import Share

BLOCK = 512
"""Rows of similarities that are held at once: memory is a few BLOCK x n, not n². So many are fastest on a CPU."""


def contrastive_loss(location: Tensor, image: Tensor, logit_scale: Tensor, share: Share | None = None) -> Tensor:
    """Mean of the two cross-entropies, place → image and image → place, of the cosine similarities x `logit_scale`.

    `location` and `image` are (n, dim), row i of one belonging to row i of the other; they are normalised here, and
    nothing is computed in less than float32.

    With `share` they are this process's part of a batch, and the loss is that of the whole batch: the others' rows
    are negatives, and gradients reach them. The gradients are those of the loss x the number of processes, because
    distributed training averages what the processes find.
    """
    loss: Tensor = _SymmetricCrossEntropy.apply(
        _unit(location), _unit(image), logit_scale, share or Share(len(location))
    )
    return loss


class _SymmetricCrossEntropy(torch.autograd.Function):
    """Exact, block by block; similarities are computed again for the gradient rather than kept.

    With S_ij = scale · l_i·v_j, the loss is the mean of (log Σ_j exp S_ij + log Σ_j exp S_ji) / 2 - S_ii, and its
    gradient in S is (softmax over j + softmax over i) / 2n, less 1/n on the diagonal. A process holds its own rows of
    S and all columns, so that sums over i alone are shared.
    """

    @staticmethod
    def forward(ctx: Any, location: Tensor, image: Tensor, scale: Tensor, share: Share) -> Tensor:  # noqa: ANN401
        images = share.whole(image)
        by_row = location.new_empty(len(location))
        by_column = location.new_full((share.rows,), -torch.inf)
        held, spare = (location.new_empty(BLOCK, share.rows) for _ in range(2))  # made once: new pages are slow
        for block in _blocks(len(location)):
            logits = torch.mm(scale * location[block], images.T, out=held[: len(by_row[block])])
            by_row[block] = _logsumexp(logits, 1, spare)
            by_column = torch.logaddexp(by_column, _logsumexp(logits, 0, spare))
        by_column = share.logsumexp(by_column)
        ctx.save_for_backward(location, image, images, scale, by_row, by_column)
        ctx.share = share
        own = (by_row + by_column[share.own]) / 2 - scale * (location * image).sum(dim=1)
        return share.total(own.sum()) / share.rows

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        location, image, images, scale, by_row, by_column = ctx.saved_tensors
        share: Share = ctx.share
        to_location, to_images = torch.empty_like(location), torch.zeros_like(images)
        held, spare = (location.new_empty(BLOCK, share.rows) for _ in range(2))
        for block in _blocks(len(location)):
            logits = torch.mm(scale * location[block], images.T, out=held[: len(by_row[block])])
            probability = torch.sub(logits, by_row[block, None], out=spare[: len(logits)]).exp_()
            probability += logits.sub_(by_column).exp_()
            to_location[block] = probability @ images
            to_images.addmm_(probability.T, location[block])
        weight = gradient * share.processes / (2 * share.rows)
        to_location = (to_location - 2 * image) * weight
        to_image = (share.total(to_images)[share.own] - 2 * location) * weight
        return scale * to_location, scale * to_image, (to_location * location).sum(), None


def _blocks(rows: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, rows, BLOCK))


def _logsumexp(logits: Tensor, dim: int, spare: Tensor) -> Tensor:
    highest = logits.amax(dim, keepdim=True)
    total = torch.sub(logits, highest, out=spare[: len(logits)]).exp_().sum(dim, keepdim=True)
    return (highest + total.log()).squeeze(dim)


def _unit(embedding: Tensor) -> Tensor:
    return functional.normalize(embedding.to(torch.promote_types(embedding.dtype, torch.float32)), dim=1)
